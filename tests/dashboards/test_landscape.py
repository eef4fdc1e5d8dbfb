from __future__ import annotations

import math

import pandas as pd
import pytest

from dashboards.landscape import landscape
from search.training_strategy import DISTRIBUTIONS

TRAININGS = pd.DataFrame(
    {
        "fid": [5.0, 4.0, 9.0, math.nan],
        "state": ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"],
        "training_steps": [100, 100, 25, 100],
        "alpha": [1.0, 2.0, 4.0, 8.0],
        "beta": [1.0, 1.0, 2.0, 3.0],
    }
)


def test_two_parameters_are_the_axes_and_fid_is_the_colour() -> None:
    figure = landscape(TRAININGS, "beta")
    (points,) = figure.data
    assert list(points.x) == [1.0, 2.0, 4.0]  # what failed has no FID to show
    assert list(points.y) == [1.0, 1.0, 2.0]
    assert list(points.marker.color) == [5.0, 4.0, 9.0]
    assert len(set(points.marker.symbol)) == 2
    assert points.text[2] == "FID 9 after 25 steps, stopped"
    assert figure.layout.xaxis.title.text == "alpha"
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")


def test_rounds_are_said() -> None:
    figure = landscape(TRAININGS.assign(round=[1, 1, 2, 2]), "beta")
    assert figure.data[0].text[1] == "FID 4 after 100 steps, round 1"
    assert list(figure.data[0].marker.color)[:2] == [1.0, 0.0]  # above the lowest of the round


@pytest.mark.parametrize("state", ["PRUNED", "FAIL"])
def test_nothing_finished_is_drawn_too(state: str) -> None:
    assert len(landscape(TRAININGS.assign(state=state), "beta").data) == 1


def test_a_linear_scale() -> None:
    table = TRAININGS.rename(columns={"alpha": "mean", "beta": "deviation"})
    figure = landscape(table, "truncated-normal")
    assert figure.layout.xaxis.type == "linear"
    assert list(DISTRIBUTIONS.load("truncated-normal").parameters) == ["mean", "deviation"]
    assert figure.layout.yaxis.type == "log"
