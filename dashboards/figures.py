"""The figures of the report, as Plotly figures of strategies and evaluations.

Every figure gets its series by label, and a colour for each label, so that a method looks the same
in all figures. Backgrounds are transparent, and the style sheet of the page sets the text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.schedules import SCHEDULES, STANDARD
from search.strategy import GenerationStrategy, schedules_of

SEARCH_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b2559b", "#b58900", "#3a9bd9", "#7f5539")
"""The colours of searches; they differ in hue and in lightness, for colour-blind readers."""
CONTROL_COLOUR = "#7d828a"
"""The colour of everything that was not searched."""
RULE_OF_THUMB = "rule of thumb"
CHANCE = 1000.0
"""A remask temperature above this makes the order of tokens purely random."""

FID_TICKS = [m * 10.0**k for k in range(-3, 5) for m in (1, 1.5, 2, 3, 4, 5, 7)]
"""Ticks of a log axis; Plotly's own ticks would label 20 as 2."""

_INK, _RULE = "#33373d", "rgba(125, 130, 138, 0.28)"
_DASHES = ("dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")


class FinalTest(NamedTuple):
    """The values on seeds that no search saw.

    Attributes:
        value: their mean; NaN if there is no number.
        standard_error: the standard error of the mean, or None.
        values: the value of each seed.
    """

    value: float
    standard_error: float | None
    values: Sequence[float]


def colours(searches: Iterable[str], controls: Iterable[str] = ()) -> dict[str, str]:
    """Choose a colour for each method: a separate one for each search, grey for all controls."""
    own = {
        method: SEARCH_COLOURS[i % len(SEARCH_COLOURS)]
        for i, method in enumerate(dict.fromkeys(searches))
    }
    return dict.fromkeys(controls, CONTROL_COLOUR) | own


def schedules(
    strategies: Mapping[str, GenerationStrategy], tokens: int, colour: Mapping[str, str]
) -> go.Figure:
    """Draw the schedules over the steps t = 0 … T-1, with the rule of thumb dashed below them.

    A value above CHANCE is drawn at the upper edge, so that it does not flatten the others.

    Args:
        strategies: the strategies by label, at least one, all of the same T.
        tokens: L, for the counts of masked tokens.
        colour: the colour of each label.

    Raises:
        ValueError: there is no strategy, they have different T, or there are more steps than
            tokens.
    """
    lengths = sorted({s.steps for s in strategies.values()})
    if len(lengths) != 1:
        raise ValueError(f"expected schedules of one T, got T = {lengths}")
    (steps,) = lengths
    drawn = {RULE_OF_THUMB: GenerationStrategy.maskgit(steps)} | dict(strategies)
    names = schedules_of(drawn.values())
    titles = [name.replace("_", " ") for name in names]
    rows = -(-len(names) // 2)
    figure = make_subplots(rows, 2, subplot_titles=titles, vertical_spacing=0.34 / rows)
    figure.update_annotations(font_size=14)
    for i, schedule in enumerate(names):
        row, column = i // 2 + 1, i % 2 + 1
        length = SCHEDULES[schedule].length(steps)
        if length == 0:
            _write_in_panel(figure, "no value, because T = 1", row, column)
        values = [value for s in drawn.values() for value in s.schedule(schedule)]
        edge = 1.1 * max((value for value in values if value <= CHANCE), default=CHANCE)
        for j, (label, strategy) in enumerate(drawn.items()):
            if length:
                line = _schedule_line(label, strategy, schedule, tokens, colour, j, edge)
                # All panels share the legend of a schedule that has values at every T.
                figure.add_trace(line.update(showlegend=i == len(STANDARD) - 1), row, column)
        figure.update_xaxes(
            range=[-0.3, steps - 0.7], dtick=math.ceil(steps / 16), row=row, col=column
        )
        figure.update_yaxes(rangemode="tozero", row=row, col=column)
    for column in (1, 2):
        figure.update_xaxes(title_text="step t", row=rows, col=column)
    figure = styled(figure, height=330 * rows)
    return figure.update_layout(margin_t=84, legend_y=1.07)


def best_fid(
    evaluations: Mapping[str, pd.DataFrame], colour: Mapping[str, str], metric: str = "FID"
) -> go.Figure:
    """Draw the best value so far against the images generated so far, and each evaluation faintly.

    Args:
        evaluations: a table for each label, with rows in order of finish and at least the columns
            fid (the value), images and state. A failed evaluation has images but no value.
        colour: the colour of each label.
        metric: the label of the metric.
    """
    figure = go.Figure()
    shown: list[float] = []
    for label, table in evaluations.items():
        spent = table["images"].cumsum()
        fid = pd.to_numeric(table["fid"], errors="coerce").where(table["state"] == "COMPLETE")
        fid = fid.where(np.isfinite(fid))
        best = fid.cummin().ffill()
        shown += fid.tolist()
        name, style = html.escape(label), {"color": colour[label]}
        figure.add_scatter(
            x=spent,
            y=fid,
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            marker={**style, "size": 5, "opacity": 0.28},
            text=_evaluation_texts(table),
            hovertemplate="%{y:.4g} after %{x:,} images<br>%{text}<extra>" + name + "</extra>",
        )
        figure.add_scatter(
            x=spent,
            y=best,
            mode="lines",
            name=name,
            legendgroup=name,
            line={**style, "width": 2.4, "shape": "hv"},
            hovertemplate="best %{y:.4g} after %{x:,} images<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title_text="images generated", rangemode="tozero", tickformat="~s")
    figure.update_yaxes(title_text=f"{metric} seen by the search", **_fid_axis(shown))
    return styled(figure, height=460)


def final_test(
    tests: Mapping[str, FinalTest], colour: Mapping[str, str], metric: str = "FID"
) -> go.Figure:
    """Draw the values of the final test as dots with one standard error, the lowest at the top.

    Args:
        tests: the final tests by label.
        colour: the colour of each label.
        metric: the label of the metric.
    """
    ranked = sorted(tests.items(), key=lambda item: (math.isnan(item[1].value), item[1].value))
    figure = go.Figure()
    for label, test in ranked:
        name, style = html.escape(label), colour[label]
        figure.add_scatter(
            x=test.values,
            y=[name] * len(test.values),
            mode="markers",
            marker={"color": style, "size": 11, "symbol": "line-ns-open", "opacity": 0.55},
            hovertemplate=f"one seed: %{{x:.4g}}<extra>{name}</extra>",
        )
        figure.add_scatter(
            x=[test.value],
            y=[name],
            mode="markers",
            marker={"color": style, "size": 9},
            error_x={"array": [test.standard_error], "color": style, "thickness": 1.8, "width": 5},
            hovertemplate=f"%{{x:.4g}}<extra>{name}</extra>",
        )
    order = [html.escape(label) for label, _ in reversed(ranked)]
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=order,
        range=[-0.6, len(order) - 0.4],
        ticksuffix="  ",
    )
    shown = [fid for test in tests.values() for fid in (test.value, *test.values)]
    figure.update_xaxes(title_text=f"{metric} of the final test", **_fid_axis(shown))
    return styled(figure, height=120 + 34 * len(order)).update_layout(showlegend=False)


def _schedule_line(
    label: str,
    strategy: GenerationStrategy,
    schedule: str,
    tokens: int,
    colour: Mapping[str, str],
    place: int,
    edge: float,
) -> go.Scatter:
    values = strategy.schedule(schedule)
    style = colour.get(label, CONTROL_COLOUR)
    dash = _DASHES[place % len(_DASHES)] if style == CONTROL_COLOUR else "solid"
    name = html.escape(label)
    hover, hover_values = "%{customdata:.4g} at step %{x}", values
    if SCHEDULES[schedule].masks:
        hover_values = strategy.masked_counts(tokens)[:-1]
        hover = f"%{{y:.4f}} after step %{{x}}: %{{customdata}} of {tokens} tokens masked"
    return go.Scatter(
        x=list(range(len(values))),
        y=[min(value, edge) for value in values],
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={"color": style, "width": 2, "dash": "dash" if label == RULE_OF_THUMB else dash},
        marker={"color": style, "size": 6, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
        customdata=hover_values,
        hovertemplate=f"{hover}<extra>{name}</extra>",
    )


def _evaluation_texts(table: pd.DataFrame) -> list[str]:
    """Return the hover texts of points, from those of these columns that exist."""
    known = [c for c in ("probe", "step", "role", "images", "seed") if c in table]
    return [
        "<br>".join(f"{c}: {html.escape(str(v))}" for c, v in zip(known, row, strict=True))
        for row in table[known].itertuples(index=False)
    ]


def _fid_axis(fids: Iterable[float]) -> dict[str, Any]:
    """Return the settings of an axis of values: a log scale if they differ by a factor of two."""
    finite = [fid for fid in fids if math.isfinite(fid)]
    if not finite or min(finite) <= 0 or max(finite) < 2 * min(finite):
        return {}
    return {"type": "log", "tickvals": FID_TICKS, "tickformat": "~g"}


def _write_in_panel(figure: go.Figure, words: str, row: int, column: int) -> None:
    figure.add_scatter(
        x=[0],
        y=[0.5],
        mode="text",
        text=[words],
        showlegend=False,
        hoverinfo="skip",
        row=row,
        col=column,
    )


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Apply the common style: no background, and the text style of the page."""
    axis = {
        "gridcolor": _RULE,
        "linecolor": _RULE,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "title_font_size": 13,
    }
    figure.update_layout(
        height=height,
        template="none",
        font={"family": "inherit", "size": 13, "color": _INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 16, "t": 40, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"font": {"size": 12}, "align": "left"},
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
