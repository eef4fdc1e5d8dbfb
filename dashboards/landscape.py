"""The figure of training strategies: the points in their space and the resulting values."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures import styled
from search.training_strategy import distribution

FINISHED, STOPPED = "circle", "x-thin-open"


def landscape(trainings: pd.DataFrame, family: str, metric: str = "FID") -> go.Figure:
    """Draw the trainings over their parameters.

    With two parameters the value is a colour; otherwise each parameter has a panel.

    Args:
        trainings: a row for each training, with the columns fid (the value), state ("COMPLETE",
            "PRUNED" if it was stopped early, or "FAIL"), training_steps, a column for each
            parameter of the distribution, and round if there are several rounds.
        family: the name of the distribution.
        metric: the label of the metric.
    """
    shown = trainings[trainings["state"] != "FAIL"]
    parameters = list(distribution(family).parameters)
    if len(parameters) == 2:
        figure = go.Figure(
            _scatter(shown, parameters[0], shown[parameters[1]], metric, coloured=True)
        )
        _axis(figure, family, parameters[1], "y")
    else:
        figure = make_subplots(1, len(parameters), shared_yaxes=True)
        for i, name in enumerate(parameters, 1):
            figure.add_trace(_scatter(shown, name, shown["fid"], metric, coloured=False), 1, i)
        figure.update_yaxes(title_text=f"{metric} seen by the search", col=1)
    for i, name in enumerate(parameters[: 1 if len(parameters) == 2 else None], 1):
        _axis(figure, family, name, "x", i)
    return styled(figure, height=460).update_layout(showlegend=False)


def _scatter(shown: pd.DataFrame, x: str, y: pd.Series, metric: str, coloured: bool) -> go.Scatter:
    finished = shown["state"] == "COMPLETE"
    fid, title = shown["fid"], metric
    if "round" in shown:  # each round measures with another generation strategy
        fid = fid - shown.where(finished).groupby(shown["round"])["fid"].transform("min")
        title = f"{metric} above<br>its round's<br>lowest"
    # If one value is far above all others, these should not all get the same colour.
    ceiling = fid[finished].quantile(0.9) if finished.any() else None
    colour = {
        "color": fid,
        "colorscale": "Viridis_r",
        "cmax": ceiling,
        "cmin": fid[finished].min() if finished.any() else None,
        "colorbar": {"title": {"text": title}, "thickness": 12},
    }
    return go.Scatter(
        x=shown[x],
        y=y,
        mode="markers",
        marker={
            "size": 13,
            "symbol": [FINISHED if done else STOPPED for done in finished],
            "line": {"width": 1.2},
            **(colour if coloured else {}),
        },
        text=_hover_texts(shown, metric),
        hovertemplate="%{text}<extra></extra>",
    )


def _hover_texts(shown: pd.DataFrame, metric: str) -> Sequence[str]:
    rounds = shown["round"] if "round" in shown else [None] * len(shown)
    rows = zip(shown["fid"], shown["state"], shown["training_steps"], rounds, strict=True)
    return [
        f"{metric} {fid:.4g} after {steps} steps"
        + ("" if state == "COMPLETE" else ", stopped")
        + ("" if round_ is None else f", round {round_}")
        for fid, state, steps, round_ in rows
    ]


def _axis(figure: go.Figure, family: str, name: str, letter: str, column: int = 1) -> None:
    kind = "log" if distribution(family).parameters[name].log else "linear"
    update = figure.update_xaxes if letter == "x" else figure.update_yaxes
    where = {} if letter == "y" else {"col": column if column > 1 else None}
    update(title_text=name, type=kind, tickformat="~g", **where)
