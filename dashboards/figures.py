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

from search.controls import RULE_OF_THUMB, or_last

SEARCH_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#b2559b", "#b58900", "#3a9bd9", "#8f6a4a"),
    *("#5b5fd0", "#d9739f", "#6b8e23"),
)
"""The colours of ten searches. They stand out from white and from dark pages; each has a symbol and
a dash of its own as well, so that nobody has to tell them apart by colour alone."""
CONTROL_COLOUR = "#7d828a"
"""The colour of everything that was not searched."""
TICKS = (1, 1.5, 2, 3, 4, 5, 7)
"""Ticks of a log axis, times powers of ten; Plotly's own ticks would label 20 as 2."""
MOST_POWERS = 6
"""Beyond these only powers of ten have room."""

_INK, _RULE = "#33373d", "rgba(125, 130, 138, 0.28)"
_SEARCH_DASHES = ("solid",) * 5 + ("8px,2px",) * 5
_CONTROL_DASHES = ("dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon", "hexagram"),
    "triangle-down",
)


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


def symbol_of(colour: str, place: int | None = None) -> str:
    """Return the symbol of a search's colour; of a control, that of its place among the lines."""
    index = SEARCH_COLOURS.index(colour) if colour in SEARCH_COLOURS else place or 0
    return _SYMBOLS[index % len(_SYMBOLS)]


def dash_of(colour: str, place: int | None = None) -> str:
    """Return the dash of a search's colour; of a control, that of its place among the lines."""
    if place is not None:
        return _CONTROL_DASHES[place % len(_CONTROL_DASHES)]
    index = SEARCH_COLOURS.index(colour) if colour in SEARCH_COLOURS else 0
    return _SEARCH_DASHES[index]


def rgba(colour: str, opacity: float) -> str:
    """Return a colour "#rrggbb" with an opacity, as CSS."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def best_fid(
    evaluations: Mapping[str, pd.DataFrame],
    colour: Mapping[str, str],
    metric: str = "FID",
    *,
    tests: Mapping[str, FinalTest] | None = None,
    levels: Mapping[str, float] | None = None,
    points: bool = True,
) -> go.Figure:
    """Draw the best value so far against the images generated so far, and each evaluation faintly.

    The axis ends a little above where the searches began; evaluations above it are marked at its
    upper edge, and counted.

    Args:
        evaluations: a table for each label, with rows in order of finish and at least the columns
            fid (the value), images and state. A failed evaluation has images but no value.
        colour: the colour of each label.
        metric: the label of the metric.
        tests: the final tests of searches by label, drawn in a panel of their own because their n
            may be another one.
        levels: the final tests of controls by label, drawn there as lines.
        points: whether to draw the evaluations.
    """
    tests = {k: v for k, v in (tests or {}).items() if math.isfinite(v.value)}
    levels = {k: v for k, v in (levels or {}).items() if math.isfinite(v)}
    curves = {label: finite_values(table) for label, table in evaluations.items()}
    tested = [*levels.values(), *(test.value for test in tests.values())]
    top = top_of([*curves.values()], tested)
    figure = make_subplots(
        cols=2 if tested else 1,
        column_widths=[0.82, 0.18] if tested else None,
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=["search", "final test"] if tested else None,
    )
    figure.update_annotations(font_size=13)
    for label, table in evaluations.items():
        for trace in _progress(label, table, curves[label], colour[label], top)[not points :]:
            figure.add_trace(trace, row=1, col=1)
    for trace in _tested(tests, levels, colour):
        figure.add_trace(trace, row=1, col=2)
    above = sum(int((fid > top).sum()) for fid in curves.values())
    if above and points:
        words = f"{above:,} evaluation{'s' * (above > 1)} above"
        edge = {"xref": "x domain", "yref": "paper", "x": 1, "y": 1, "yanchor": "bottom"}
        figure.add_annotation(text=words, showarrow=False, xanchor="right", **edge)
    shown = [fid for fids in curves.values() for fid in fids[fids <= top]]
    figure.update_xaxes(title_text="images generated", rangemode="tozero", tickformat="~s", col=1)
    if tested:
        figure.update_xaxes(showticklabels=False, showgrid=False, range=[-0.08, 1.08], col=2)
    figure.update_yaxes(**value_axis([*shown, *tested]))
    figure.update_yaxes(title_text=metric, col=1)
    return styled(figure, height=460).update_layout(margin_t=72, legend_y=1.09)


def final_test(
    tests: Mapping[str, FinalTest], colour: Mapping[str, str], metric: str = "FID"
) -> go.Figure:
    """Draw the values of the final test as dots with one standard error, the lowest at the top.

    Args:
        tests: the final tests by label.
        colour: the colour of each label.
        metric: the label of the metric.
    """
    ranked = sorted(tests.items(), key=lambda item: or_last(item[1].value))
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
    figure.update_xaxes(title_text=f"{metric} of the final test", **value_axis(shown))
    return styled(figure, height=120 + 34 * len(order)).update_layout(showlegend=False)


def finite_values(table: pd.DataFrame) -> pd.Series[float]:
    """Return the values of completed evaluations, NaN for all others."""
    fid = pd.to_numeric(table["fid"], errors="coerce").where(table["state"] == "COMPLETE")
    return fid.where(np.isfinite(fid))


def top_of(curves: Sequence[pd.Series[float]], others: Iterable[float]) -> float:
    """Return the end of the axis: above where searches began, and above all other values."""
    starts = [fid.dropna().iloc[0] for fid in curves if fid.notna().any()]
    lowest = min((fid.min() for fid in curves if fid.notna().any()), default=0.0)
    end = max([min(starts, default=math.inf), *others])
    return end + 0.15 * abs(end - lowest) if math.isfinite(end) else math.inf


def _progress(
    label: str, table: pd.DataFrame, fid: pd.Series[float], colour: str, top: float
) -> list[go.Scatter]:
    """Make the points of a search, and the line of its best value so far."""
    spent, name = table["images"].cumsum(), html.escape(label)
    symbols = np.where(fid > top, "triangle-up-open", symbol_of(colour))
    return [
        go.Scatter(
            x=spent,
            y=fid.clip(upper=top),
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            marker={"color": colour, "size": 5, "opacity": 0.28, "symbol": symbols},
            customdata=fid,
            text=_evaluation_texts(table),
            hovertemplate="%{customdata:.4g} after %{x:,} images<br>%{text}<extra>"
            + name
            + "</extra>",
        ),
        go.Scatter(
            x=spent,
            y=fid.cummin().ffill().clip(upper=top),
            mode="lines",
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 2.4, "shape": "hv", "dash": dash_of(colour)},
            hovertemplate="best %{y:.4g} after %{x:,} images<extra>" + name + "</extra>",
        ),
    ]


def _tested(
    tests: Mapping[str, FinalTest], levels: Mapping[str, float], colour: Mapping[str, str]
) -> list[go.Scatter]:
    """Make the panel of final tests: lines of controls, and points of searches side by side."""
    traces = []
    for label, value in levels.items():
        name = html.escape(label)
        dash = "dash" if label == RULE_OF_THUMB else "dot"
        trace = go.Scatter(
            x=[-0.08, 1.08],
            y=[value, value],
            mode="lines+text",
            text=[f" {name}", ""],
            textposition="top right",
            textfont={"size": 11},
            line={"color": CONTROL_COLOUR, "width": 1.4, "dash": dash},
        )
        traces.append((name, trace))
    for place, (label, test) in enumerate(tests.items()):
        style = colour[label]
        trace = go.Scatter(
            x=[(place + 1) / (len(tests) + 1)],
            y=[test.value],
            error_y={"array": [test.standard_error], "color": style, "thickness": 1.6, "width": 4},
            mode="markers",
            legendgroup=html.escape(label),
            marker={"color": style, "size": 9, "symbol": symbol_of(style)},
        )
        traces.append((html.escape(label), trace))
    return [
        trace.update(
            name=name,
            showlegend=False,
            hovertemplate="final test %{y:.4g}<extra>" + name + "</extra>",
        )
        for name, trace in traces
    ]


def _evaluation_texts(table: pd.DataFrame) -> list[str]:
    """Return the hover texts of points, from those of these columns that exist."""
    known = [c for c in ("probe", "step", "role", "images", "seed") if c in table]
    return [
        "<br>".join(f"{c}: {html.escape(str(v))}" for c, v in zip(known, row, strict=True))
        for row in table[known].itertuples(index=False)
    ]


def value_axis(fids: Iterable[float]) -> dict[str, Any]:
    """Return the settings of an axis of values: a log scale if they differ by a factor of two."""
    finite = [fid for fid in fids if math.isfinite(fid)]
    if not finite or min(finite) <= 0 or max(finite) < 2 * min(finite):
        return {}
    powers = range(math.floor(math.log10(min(finite))), math.ceil(math.log10(max(finite))) + 1)
    ticks = [
        tick * 10.0**power
        for power in powers
        for tick in (TICKS if len(powers) <= MOST_POWERS else (1,))
    ]
    return {"type": "log", "tickvals": ticks, "tickformat": "~g"}


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Apply the common style: no background, the text style of the page, titles tied to panels."""
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
    _tie_titles(figure)
    return figure


def _tie_titles(figure: go.Figure) -> None:
    """Tie the titles of panels to these, because a narrow page puts the panels below each other."""
    titles = [a for a in figure.layout.annotations if (a.xref, a.yref) == ("paper", "paper")]
    for place, title in enumerate(titles, 1):
        panel = "" if place == 1 else place
        title.update(xref=f"x{panel} domain", yref=f"y{panel} domain", x=0.5, y=1)
