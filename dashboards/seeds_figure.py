"""The figure of searches that differ only by their seed: their progress as a band."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.figures import FinalTest, best_fid, finite_values, rgba, top_of

BAND = 0.16
"""The opacity of a band."""


def best_fid_over_seeds(
    evaluations: Mapping[str, Sequence[pd.DataFrame]],
    colour: Mapping[str, str],
    metric: str = "FID",
    *,
    tests: Mapping[str, FinalTest] | None = None,
    levels: Mapping[str, float] | None = None,
) -> go.Figure:
    """Draw the median of the best values so far, in a band from the lowest to the highest.

    Args:
        evaluations: the tables of each label, one for each search seed, as in
            `dashboards.figures.best_fid`. A single table is drawn as a line.
        colour: the colour of each label.
        metric: the label of the metric.
        tests: the final tests by label.
        levels: the final tests of controls by label.
    """
    curves = {label: _on_one_axis(tables) for label, tables in evaluations.items()}
    medians = {label: _as_table(curve.median(axis=1)) for label, curve in curves.items()}
    figure = best_fid(medians, colour, metric, tests=tests, levels=levels, points=False)
    tested = [*(test.value for test in (tests or {}).values()), *(levels or {}).values()]
    top = top_of([table["fid"] for table in medians.values()], filter(math.isfinite, tested))
    for label, curve in curves.items():
        if curve.shape[1] > 1:
            figure.add_traces(_band(label, curve.clip(upper=top), colour[label]))
    return figure


def _on_one_axis(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The best values so far: a row for each number of images, a column for each search."""
    curves = []
    for table in tables:
        best = finite_values(table).cummin().ffill()
        best.index = table["images"].cumsum()
        curves.append(best)
    joined = pd.concat(curves, axis=1).sort_index().ffill()
    return joined.dropna()  # from where all searches have a value


def _as_table(best: pd.Series[float]) -> pd.DataFrame:
    images = np.diff(best.index.to_numpy(), prepend=0)
    return pd.DataFrame({"fid": best.to_numpy(), "images": images, "state": "COMPLETE"})


def _band(label: str, curve: pd.DataFrame, colour: str) -> list[go.Scatter]:
    """Make the edges of a band, the second of which fills the area up to the first."""
    name = html.escape(label)
    return [
        go.Scatter(
            x=curve.index,
            y=edge,
            mode="lines",
            line={"width": 0.6, "color": rgba(colour, 0.5), "shape": "hv"},
            fill=fill,
            fillcolor=rgba(colour, BAND),
            name=name,
            legendgroup=name,
            showlegend=False,
            hovertemplate=f"{words} %{{y:.4g}} after %{{x:,}} images<extra>{name}</extra>",
        )
        for words, edge, fill in (
            ("highest", curve.max(axis=1), None),
            ("lowest", curve.min(axis=1), "tonexty"),
        )
    ]
