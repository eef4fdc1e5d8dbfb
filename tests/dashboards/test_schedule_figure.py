"""What was searched, behind the schedules: bounds, values that reach them, good strategies."""

from __future__ import annotations

import dataclasses

import pytest

from dashboards.cautions import warnings
from dashboards.figures import SEARCH_COLOURS
from dashboards.schedule_figure import Searched, schedules
from search.bound import Bound
from search.schedules import SCHEDULES
from search.strategy import GenerationStrategy
from tests.dashboards.conftest import compared

RULE = GenerationStrategy.maskgit(4)
BOUNDS = {"remask_temperature": Bound(0.1, 10.0, log=True), "guidance_scale": Bound(0.0, 1.0)}
AT_ENDS = dataclasses.replace(
    RULE, remask_temperature=(10.0, 2.0, 0.1), guidance_scale=(0.0, 0.5, 0.9, 1.0)
)


@pytest.mark.parametrize(
    ("schedule", "value", "end"),
    [
        ("remask_temperature", 9.9, "upper"),
        ("remask_temperature", 9.0, None),
        ("remask_temperature", 0.101, "lower"),
        ("remask_temperature", 0.0, "lower"),
        ("guidance_scale", 1.0, "upper"),
        ("guidance_scale", 0.0, None),  # no search can go below 0
    ],
)
def test_a_value_on_a_bound(schedule: str, value: float, end: str | None) -> None:
    assert SCHEDULES[schedule].on_bound(value, BOUNDS[schedule]) == end


def test_no_mask_ratio_is_on_a_bound() -> None:
    ratio = SCHEDULES["mask_ratio"]
    bound = ratio.bound(4)
    assert ratio.on_bound(bound.high, bound) is ratio.on_bound(0.0, bound) is None


def test_bounds_are_a_band_and_values_on_them_have_rings() -> None:
    good = [RULE, dataclasses.replace(RULE, remask_temperature=(4.0, 4.0, 4.0))]
    colour = SEARCH_COLOURS[0]
    figure = schedules({"tpe": AT_ENDS}, 64, {"tpe": colour}, {"tpe": Searched(BOUNDS, good)})
    rings = {
        trace.yaxis: tuple(trace.x) for trace in figure.data if trace.marker.symbol == "circle-open"
    }
    assert rings == {"y2": (0, 2), "y4": (3,)}
    areas = [trace for trace in figure.data if trace.fill == "toself"]
    assert [trace.yaxis for trace in areas].count("y2") == 2  # a band, and the good ones
    band = next(trace for trace in areas if trace.yaxis == "y2")
    assert (max(band.y), min(band.y)) == (10.0, 0.1)
    assert figure.layout.yaxis2.type == "log"
    assert figure.layout.yaxis4.type is None


def test_zero_is_drawn_at_the_lower_edge_of_a_log_scale() -> None:
    none = dataclasses.replace(RULE, remask_temperature=(0.0, 0.5, 0.2))
    colour = {"tpe": SEARCH_COLOURS[0]}
    figure = schedules({"tpe": none}, 64, colour, {"tpe": Searched(BOUNDS)})
    _, line = (t for t in figure.data if t.mode == "lines+markers" and t.yaxis == "y2")
    assert tuple(line.y) == (0.1, 0.5, 0.2)
    assert tuple(line.customdata) == (0.0, 0.5, 0.2)


def test_a_winner_on_a_bound_is_said_in_words() -> None:
    results = compared({"tpe": 5.0}, steps=4)
    winner = next(result for result in results if result.searched)
    rest = [result for result in results if not result.searched]
    assert not warnings(results, [])
    at_ends = dataclasses.replace(winner, strategy=AT_ENDS, bounds=BOUNDS)
    (line,) = warnings([at_ends, *rest], [])
    assert line == (
        "The winner of tpe reaches bounds of its search: remask_temperature the lower one, 0.1, "
        "at t = 2; remask_temperature the upper one, 10, at t = 0; guidance_scale the upper one, "
        "1, at t = 3. A search with wider bounds (--bounds) may find a lower value."
    )
