"""The figure of costs: the values that searches saw, against the forward passes of each image."""

from __future__ import annotations

import html
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from dashboards.figures import CONTROL_COLOUR, finite_values, styled, symbol_of, top_of, value_axis

FEWEST = 3
"""The number of different costs below which a figure of them says nothing."""


def costs_vary(evaluations: Mapping[str, pd.DataFrame]) -> bool:
    """Whether the evaluations have enough different numbers of forward passes for a figure."""
    costs = [
        table.loc[finite_values(table).notna(), "forward_passes"] for table in evaluations.values()
    ]
    return bool(costs) and pd.concat(costs).nunique() >= FEWEST


def value_over_passes(
    evaluations: Mapping[str, pd.DataFrame], colour: Mapping[str, str], metric: str = "FID"
) -> go.Figure:
    """Draw every evaluation by its forward passes, and the front: the lowest value for each cost.

    The front is of single evaluations, chosen for being low; `autonat front` measures it again.
    Values far above the best are drawn at the upper edge.

    Args:
        evaluations: a table for each label with the columns fid (the value), forward_passes and
            state.
        colour: the colour of each label.
        metric: the label of the metric.
    """
    curves = {label: finite_values(table) for label, table in evaluations.items()}
    top = top_of([*curves.values()], [])
    figure = go.Figure()
    # Methods of one cost stand side by side.
    for place, (label, table) in enumerate(evaluations.items()):
        name = html.escape(label)
        beside = 0.12 * (place - (len(evaluations) - 1) / 2)
        figure.add_scatter(
            x=table["forward_passes"] + beside,
            y=curves[label].clip(upper=top),
            customdata=pd.DataFrame({"passes": table["forward_passes"], "value": curves[label]}),
            mode="markers",
            name=name,
            marker={
                "color": colour[label],
                "size": 6,
                "opacity": 0.4,
                "symbol": symbol_of(colour[label]),
            },
            hovertemplate="%{customdata[1]:.4g} with %{customdata[0]} passes<extra>"
            + name
            + "</extra>",
        )
    points = pd.DataFrame(
        {
            "passes": pd.concat([table["forward_passes"] for table in evaluations.values()]),
            "value": pd.concat([*curves.values()]),
        }
    ).dropna()
    lowest = points.groupby("passes")["value"].min().cummin()
    front = lowest[~lowest.duplicated()]
    figure.add_scatter(
        x=front.index,
        y=front.clip(upper=top),
        mode="lines",
        name="lowest with so many passes",
        line={"color": CONTROL_COLOUR, "width": 1.6, "shape": "hv"},
        hovertemplate="%{y:.4g} with %{x} passes<extra>front</extra>",
    )
    shown = [value for values in curves.values() for value in values[values <= top]]
    figure.update_xaxes(title_text="forward passes per image")
    figure.update_yaxes(title_text=f"{metric} seen by the search", **value_axis(shown))
    return styled(figure, height=420)
