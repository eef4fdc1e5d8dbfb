"""The figure of schedules: the values of strategies over the steps, within the searched bounds."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures import CONTROL_COLOUR, dash_of, rgba, styled, symbol_of
from search.bound import Bound
from search.controls import RULE_OF_THUMB
from search.schedules import SCHEDULES, STANDARD
from search.strategy import GenerationStrategy, schedules_of

CHANCE = 1000.0
"""A remask temperature above this makes the order of tokens purely random."""
LOG_TICKS = [m * 10.0**k for k in range(-3, 4) for m in (1, 3)]
_BAND, _RIBBON = 0.08, 0.2
"""Opacities of the searched bounds and of the spread of good strategies."""


class Searched(NamedTuple):
    """What a search tried, drawn behind its winner.

    Attributes:
        bounds: the range of each schedule that was searched, by name.
        good: strategies, for instance the best tenth of those that were measured; they may be
            none.
    """

    bounds: Mapping[str, Bound]
    good: Sequence[GenerationStrategy] = ()


class _Axis(NamedTuple):
    """The vertical axis of a panel: values beyond its edges are drawn at the edge."""

    low: float
    high: float
    log: bool

    def drawn(self, values: Sequence[float]) -> list[float]:
        return [min(max(value, self.low), self.high) for value in values]


def schedules(
    strategies: Mapping[str, GenerationStrategy],
    tokens: int,
    colour: Mapping[str, str],
    searched: Mapping[str, Searched] | None = None,
) -> go.Figure:
    """Draw the schedules over the steps t = 0 … T-1, with the rule of thumb dashed below them.

    Each schedule has the scale on which it is searched. A value above CHANCE is drawn at the upper
    edge, so that it does not flatten the others, and 0 on a log scale at the lower edge.

    Args:
        strategies: the strategies by label, at least one, all of the same T.
        tokens: L, for the counts of masked tokens.
        colour: the colour of each label.
        searched: what the search of a label tried. The bounds of all searches are a band; values
            on a bound have a ring; the middle 80 % of good strategies are a ribbon.

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
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        axis = _axis(schedule, drawn, searched or {})
        if SCHEDULES[schedule].length(steps) == 0:
            _write(figure, "no value, because T = 1", place)
        else:
            # All panels share the legend of a schedule that has values at every T.
            legend = i == len(STANDARD) - 1
            for trace in _panel(schedule, axis, drawn, tokens, colour, searched or {}, legend):
                figure.add_trace(trace, **place)
        _set_axes(figure, steps, axis, place)
    for column in (1, 2):
        figure.update_xaxes(title_text="step t", row=rows, col=column)
    figure = styled(figure, height=330 * rows)
    return figure.update_layout(margin_t=84, legend_y=1.07)


def _panel(
    schedule: str,
    axis: _Axis,
    drawn: Mapping[str, GenerationStrategy],
    tokens: int,
    colour: Mapping[str, str],
    searched: Mapping[str, Searched],
    legend: bool,
) -> list[go.Scatter]:
    """Make the traces of one schedule, from the back to the front."""
    traces = []
    bounds = dict.fromkeys(s.bounds[schedule] for s in searched.values() if schedule in s.bounds)
    steps = next(iter(drawn.values())).steps
    for bound in () if SCHEDULES[schedule].masks else bounds:
        ends = axis.drawn([bound.low, bound.high])
        traces += _area([-0.3, steps - 0.7], [ends[0]] * 2, [ends[1]] * 2, rgba("#7d828a", _BAND))
    for label, tried in searched.items():
        if tried.good:
            values = np.array([strategy.schedule(schedule) for strategy in tried.good])
            low, high = (axis.drawn(np.quantile(values, q, axis=0).tolist()) for q in (0.1, 0.9))
            shade = rgba(colour[label], _RIBBON)
            traces += _area(list(range(len(low))), low, high, shade)
    for place, (label, strategy) in enumerate(drawn.items()):
        line = _line(label, strategy, schedule, tokens, colour, place, axis)
        traces.append(line.update(showlegend=legend))
        if label in searched and schedule in searched[label].bounds:
            traces += _rings(line, strategy, schedule, searched[label].bounds[schedule])
    return traces


def _axis(
    schedule: str, drawn: Mapping[str, GenerationStrategy], searched: Mapping[str, Searched]
) -> _Axis:
    steps = next(iter(drawn.values())).steps
    bounds = [s.bounds[schedule] for s in searched.values() if schedule in s.bounds]
    log = all(b.log for b in bounds or [SCHEDULES[schedule].bound(steps)])
    every = [value for strategy in drawn.values() for value in strategy.schedule(schedule)]
    values = [value for value in every if value <= CHANCE]
    values += [b.high for b in bounds if not SCHEDULES[schedule].masks]
    values += [b.low for b in bounds]
    positive = [value for value in values if value > 0]
    low = min(positive, default=0.1) if log else 0.0
    beyond = 1.1 if len(values) < len(every) else 1.0
    return _Axis(low, beyond * max(values, default=CHANCE), log)


def _line(
    label: str,
    strategy: GenerationStrategy,
    schedule: str,
    tokens: int,
    colour: Mapping[str, str],
    place: int,
    axis: _Axis,
) -> go.Scatter:
    values = strategy.schedule(schedule)
    style = colour.get(label, CONTROL_COLOUR)
    control = style == CONTROL_COLOUR
    dash = "dash" if label == RULE_OF_THUMB else dash_of(style, place if control else None)
    name = html.escape(label)
    hover, hover_values = "%{customdata:.4g} at step %{x}", values
    if SCHEDULES[schedule].masks:
        hover_values = strategy.masked_counts(tokens)[:-1]
        hover = f"%{{y:.4f}} after step %{{x}}: %{{customdata}} of {tokens} tokens masked"
    return go.Scatter(
        x=list(range(len(values))),
        y=axis.drawn(values),
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={"color": style, "width": 1.5 if control else 2.4, "dash": dash},
        marker={"color": style, "size": 6, "symbol": symbol_of(style, place if control else None)},
        customdata=hover_values,
        hovertemplate=f"{hover}<extra>{name}</extra>",
    )


def _rings(
    line: go.Scatter, strategy: GenerationStrategy, schedule: str, bound: Bound
) -> list[go.Scatter]:
    """Make rings around the values that are on a bound."""
    values = strategy.schedule(schedule)
    which = [t for t, value in enumerate(values) if SCHEDULES[schedule].on_bound(value, bound)]
    if not which:
        return []
    return [
        go.Scatter(
            x=which,
            y=[line.y[t] for t in which],
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 14,
                "color": line.line.color,
                "line": {"width": 2},
            },
            name=line.name,
            legendgroup=line.legendgroup,
            showlegend=False,
            hovertemplate="on a bound of the search<extra>%{fullData.name}</extra>",
        )
    ]


def _area(
    x: Sequence[float], low: Sequence[float], high: Sequence[float], shade: str
) -> list[go.Scatter]:
    """Make a shaded area between two lines."""
    return [
        go.Scatter(
            x=[*x, *reversed(x)],
            y=[*high, *reversed(low)],
            mode="lines",
            fill="toself",
            fillcolor=shade,
            line={"width": 0},
            showlegend=False,
            hoverinfo="skip",
        )
    ]


def _set_axes(figure: go.Figure, steps: int, axis: _Axis, place: dict[str, int]) -> None:
    figure.update_xaxes(range=[-0.3, steps - 0.7], dtick=math.ceil(steps / 16), **place)
    if axis.log:
        ends = [math.log10(axis.low) - 0.08, math.log10(axis.high) + 0.08]
        figure.update_yaxes(type="log", range=ends, tickvals=LOG_TICKS, tickformat="~g", **place)
    else:
        figure.update_yaxes(rangemode="tozero", **place)


def _write(figure: go.Figure, words: str, place: dict[str, int]) -> None:
    """Write words into a panel without values."""
    figure.add_scatter(
        x=[0], y=[0.5], mode="text", text=[words], showlegend=False, hoverinfo="skip", **place
    )
