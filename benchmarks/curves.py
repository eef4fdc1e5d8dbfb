"""Figures of the results of searches over images: the median and the quartiles over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.figures import SEARCH_COLOURS, styled

POINTS = 80


def curves(runs: pd.DataFrame, title: str, fid: str) -> go.Figure:
    """Draw a line for each label, with its quartiles as a band.

    Args:
        runs: rows with label, run, images and fid; from that number of images on, the run would
            have returned a strategy with that FID.
        title: the title of the figure.
        fid: the title of the axis, which says which FID it is.
    """
    figure = go.Figure()
    for i, (label, part) in enumerate(runs.groupby("label", sort=False)):
        colour = SEARCH_COLOURS[i % len(SEARCH_COLOURS)]
        first = part.groupby("run")["images"].min().max()
        grid = np.geomspace(first, part["images"].max(), POINTS)
        steps = np.stack([_at(run, grid) for _, run in part.groupby("run")])
        low, middle, high = np.percentile(steps, [25, 50, 75], axis=0)
        figure.add_scatter(
            x=[*grid, *grid[::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            fillcolor=colour,
            opacity=0.15,
            line_width=0,
            showlegend=False,
            hoverinfo="skip",
        )
        name = f"{label} ({len(steps)})"
        figure.add_scatter(
            x=grid, y=middle, name=name, line={"color": colour, "width": 2.4, "shape": "hv"}
        )
    figure.update_xaxes(title_text="images generated", type="log", dtick=1, tickformat="~s")
    figure.update_yaxes(title_text=fid)
    figure = styled(figure, height=520)
    return figure.update_layout(title={"text": title, "y": 0.97}, margin_t=120)


def _at(run: pd.DataFrame, grid: np.ndarray) -> np.ndarray:
    """Return the FID of the result at each number of images of the grid."""
    ordered = run.sort_values("images")
    place = np.searchsorted(ordered["images"], grid * (1 + 1e-9), side="right") - 1
    return ordered["fid"].to_numpy()[np.maximum(place, 0)]
