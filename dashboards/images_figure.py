"""The figure of n: how a value depends on the number of images, and its end at infinitely many."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from dashboards.figures import CONTROL_COLOUR, dash_of, styled, symbol_of
from search.measurement import AtImages


class Level(NamedTuple):
    """A reference value.

    Attributes:
        label: its name.
        value: of the metric.
        images: n, the number of images of which it is the value.
    """

    label: str
    value: float
    images: int


def value_over_images(
    values: Mapping[str, Sequence[AtImages]],
    colour: Mapping[str, str],
    metric: str = "FID",
    levels: Sequence[Level] = (),
) -> go.Figure:
    """Draw values over 1/n, on which they are nearly straight lines that end at infinite n.

    Args:
        values: the values of each label, at least one of them with a finite n.
        colour: the colour of each label.
        metric: the label of the metric.
        levels: reference values, drawn as lines; those far above all values are named instead.
    """
    figure = go.Figure()
    for place, (label, points) in enumerate(values.items()):
        figure.add_traces(_line(label, points, colour[label], place))
    shown = [at.value for points in values.values() for at in points]
    _add_levels(figure, levels, max(shown) + 0.4 * (max(shown) - min(shown)))
    counts = sorted({at.images for points in values.values() for at in points}, reverse=True)
    figure.update_xaxes(
        title_text="n, the number of images (on the scale of 1/n)",
        tickvals=[1 / n for n in counts],
        ticktext=[_count(n) for n in counts],
        range=[-0.04 / counts[-1], 1.06 / counts[-1]],
    )
    figure.update_yaxes(title_text=f"{metric} of the final test")
    return styled(figure, height=400)


def _line(label: str, points: Sequence[AtImages], colour: str, place: int) -> list[go.Scatter]:
    """Make the line of the measured values, and the dotted one from the largest n to infinity."""
    index = place if colour == CONTROL_COLOUR else None
    name, symbol = html.escape(label), symbol_of(colour, index)
    measured = [at for at in points if math.isfinite(at.images)]
    ends = [at for at in points if math.isinf(at.images)]
    lines = []
    for some, dash, marked in (
        (measured, dash_of(colour, index), symbol),
        ([*ends, measured[0]], "dot", [f"{symbol}-open"] * len(ends) + [symbol]),
    ):
        errors = [at.standard_error for at in some]
        if some is not measured:
            errors[-1] = None  # drawn with the measured values
        line = go.Scatter(
            x=[1 / at.images for at in some],
            y=[at.value for at in some],
            error_y={"array": errors, "color": colour, "thickness": 1.4, "width": 4},
            mode="lines+markers",
            name=name,
            legendgroup=name,
            showlegend=some is measured,
            line={"color": colour, "width": 2.0, "dash": dash},
            marker={"color": colour, "size": 8, "symbol": marked},
            customdata=[_count(at.images) for at in some],
            hovertemplate="%{y:.4g} at n = %{customdata}<extra>" + name + "</extra>",
        )
        lines.append(line)
    return lines


def _count(images: float) -> str:
    return "∞" if math.isinf(images) else f"{images:,.0f}"


def _add_levels(figure: go.Figure, levels: Sequence[Level], top: float) -> None:
    """Draw a line for each reference value up to `top`, and name those above."""
    for level in levels:
        if level.value <= top:
            figure.add_hline(
                y=level.value,
                line={"color": CONTROL_COLOUR, "width": 1.2, "dash": "longdash"},
                annotation={
                    "text": f"{html.escape(level.label)}, n = {level.images:,}",
                    "font_size": 11,
                    "xanchor": "right",
                },
            )
    above = [f"{html.escape(one.label)} {one.value:.4g}" for one in levels if one.value > top]
    if above:
        corner = {"xref": "x domain", "yref": "y domain", "x": 0.02, "y": 0.98, "yanchor": "top"}
        words = f"far above: {', '.join(above)}"
        figure.add_annotation(text=words, showarrow=False, xanchor="left", **corner)
