"""The figure of several T: the final tests against the forward passes of each image."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboards.figures import dash_of, styled, symbol_of, value_axis
from dashboards.formatting import with_error
from dashboards.input import Result

PASSES_TICKS = [m * 2**k for k in range(12) for m in (1, 1.5) if m * 2**k == int(m * 2**k)]


def value_over_steps(
    lines: Mapping[str, Sequence[Result]], colour: Mapping[str, str], metric: str = "FID"
) -> go.Figure:
    """Draw a line for each label through its results of several T.

    Args:
        lines: for each label, results with a final test, one or more of each T.
        colour: the colour of each label.
        metric: the label of the metric.
    """
    figure = go.Figure()
    controls = 0
    for label, results in lines.items():
        shown = sorted(
            (r for r in results if math.isfinite(r.value)), key=lambda r: r.strategy.steps
        )
        control = not any(r.searched for r in results)
        place = controls if control else None
        controls += control
        figure.add_scatter(
            x=[r.forward_passes for r in shown],
            y=[r.value for r in shown],
            error_y={"type": "data", "array": [r.standard_error or 0 for r in shown]},
            mode="lines+markers+text",
            text=[f"T = {r.strategy.steps}" for r in shown],
            textposition="top right",
            textfont_size=11,
            name=html.escape(label),
            line={"color": colour[label], "width": 1.8, "dash": dash_of(colour[label], place)},
            marker={"size": 8, "symbol": symbol_of(colour[label], place)},
            hovertext=[_told(result) for result in shown],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    values = [r.value for results in lines.values() for r in results]
    figure.update_xaxes(
        title_text="forward passes per image", type="log", tickvals=PASSES_TICKS, tickformat="d"
    )
    figure.update_yaxes(title_text=f"{metric} in the final test", **value_axis(values))
    return styled(figure, height=440)


def _told(result: Result) -> str:
    value = with_error(result.value, result.standard_error)
    return (
        f"{html.escape(result.label)}, T = {result.strategy.steps}: {value} with "
        f"{result.forward_passes} passes"
    )
