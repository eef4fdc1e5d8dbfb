"""The figure of sensitivity: what moving one value of the winner would do to the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures import rgba, styled
from search.sensitivity import MOVE, Change, Sensitivity

MOST_SHOWN = 12
"""The most parameters whose importance is drawn."""


def sensitivity_figure(found: Sensitivity, colour: str, metric: str = "FID") -> go.Figure:
    """Draw two bars for each value of each schedule: the value raised, and the value lowered.

    Args:
        found: the sensitivity of a strategy.
        colour: of the method that found the strategy.
        metric: the label of the metric.
    """
    names = [name for name, changes in found.raised.items() if changes]
    rows = -(-len(names) // 2)
    figure = make_subplots(
        rows,
        2 if len(names) > 1 else 1,
        subplot_titles=[name.replace("_", " ") for name in names],
        shared_yaxes="all",
        vertical_spacing=0.3 / rows,
        horizontal_spacing=0.06,
    )
    figure.update_annotations(font_size=14)
    for i, name in enumerate(names):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        for words, changes, shade, pattern in (
            ("raised", found.raised[name], colour, ""),
            ("lowered", found.lowered[name], rgba(colour, 0.45), "/"),
        ):
            bars = _bars(words, changes, colour, shade, pattern)
            figure.add_trace(bars.update(showlegend=i == 0), **place)
        figure.update_xaxes(dtick=1, range=[-0.6, len(found.raised[name]) - 0.4], **place)
    for column in (1, 2)[: len(names)]:
        figure.update_xaxes(title_text="step t", row=rows, col=column)
    figure.update_yaxes(title_text=f"change of {metric}", col=1)
    figure.update_yaxes(zeroline=True)
    figure = styled(figure, height=260 * rows)
    figure.update_yaxes(zeroline=True, zerolinecolor="rgba(125, 130, 138, 0.8)")
    return figure.update_layout(margin_t=84, legend_y=1.09, barmode="group", bargap=0.3)


def importance_figure(importance: Mapping[str, float], colour: str) -> go.Figure:
    """Draw the importance of parameters as bars, the largest at the top.

    Args:
        importance: the share of each parameter, by name.
        colour: of the bars.
    """
    ranked = sorted(importance.items(), key=lambda item: item[1])[-MOST_SHOWN:]
    figure = go.Figure(
        go.Bar(
            x=[share for _, share in ranked],
            y=[name.replace("_", " ") for name, _ in ranked],
            orientation="h",
            marker_color=colour,
            hovertemplate="%{x:.0%}<extra>%{y}</extra>",
        )
    )
    figure.update_xaxes(title_text="share of the importance", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(ticksuffix="  ")
    return styled(figure, height=110 + 32 * len(ranked))


def most_sensitive(found: Sensitivity, metric: str = "FID") -> str | None:
    """Say in a sentence which value matters most, and which schedule matters least.

    Returns:
        The sentence, or None if no move raises the metric by more than its error.
    """
    every = [
        (change, name, t, words)
        for words, moved in (("raising", found.raised), ("lowering", found.lowered))
        for name, changes in moved.items()
        for t, change in enumerate(changes)
        if change is not None
    ]
    clear = [row for row in every if row[0].low > 0]
    if not clear:
        return None
    change, name, t, words = max(clear, key=lambda row: row[0].change)
    most = {n: max(abs(c.change) for c, own, *_ in every if own == n) for _, n, *_ in every}
    least = min(most, key=lambda n: most[n])
    sentence = (
        f"Most sensitive is the {name.replace('_', ' ')} of step {t}: {words} it by a tenth of its "
        f"range, from {change.before:.3g} to {change.after:.3g}, is expected to raise {metric} by "
        f"{change.change:.2g} ({max(change.low, 0):.2g} to {change.high:.2g})"
    )
    if least == name:
        return sentence + "."
    return sentence + (
        f". Least sensitive is the {least.replace('_', ' ')}: no such move of one of its values "
        f"changes {metric} by more than {most[least]:.2g}."
    )


def _bars(
    words: str, changes: Sequence[Change | None], colour: str, shade: str, pattern: str
) -> go.Bar:
    moved = [(t, change) for t, change in enumerate(changes) if change is not None]
    return go.Bar(
        x=[t for t, _ in moved],
        y=[change.change for _, change in moved],
        name=f"{words} by {MOVE:.0%} of its range",
        legendgroup=words,
        marker={
            "color": shade,
            "line": {"color": colour, "width": 1},
            "pattern": {"shape": pattern, "size": 5, "fgcolor": colour},
        },
        error_y={
            "array": [change.high - change.change for _, change in moved],
            "arrayminus": [change.change - change.low for _, change in moved],
            "color": "#7d828a",
            "thickness": 1.2,
            "width": 3,
        },
        customdata=[(change.before, change.after) for _, change in moved],
        hovertemplate="%{customdata[0]:.4g} → %{customdata[1]:.4g}: %{y:+.3g}"
        "<extra>step %{x}</extra>",
    )
