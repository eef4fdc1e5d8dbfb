"""What the figures show."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dashboards.figures import (
    CONTROL_COLOUR,
    RULE_OF_THUMB,
    SEARCH_COLOURS,
    FinalTest,
    best_fid,
    colours,
    final_test,
    symbol_of,
    value_axis,
)
from dashboards.schedule_figure import schedules
from search.controls import CONTROLS
from search.strategy import GenerationStrategy

RULE = GenerationStrategy.maskgit(8)


def test_each_search_has_its_own_colour_and_controls_share_grey() -> None:
    colour = colours(["tpe", "cmaes", "tpe"], ["rule of thumb", "one step"])
    assert len({colour["tpe"], colour["cmaes"], CONTROL_COLOUR}) == 3
    assert colour["rule of thumb"] == colour["one step"] == CONTROL_COLOUR


def test_schedules_show_the_values_and_the_counts_in_force() -> None:
    ratios = (0.5, 0.9, 0.4, 0.3, 0.2, 0.1, 0.0)  # does not fall, and ends below one token
    strategy = GenerationStrategy(ratios, (1.0,) * 7, (1.0,) * 8, (0.5,) * 8)
    figure = schedules({"tpe": strategy}, 64, {"tpe": "#123456"})
    ours = [trace for trace in figure.data if trace.name == "tpe"]
    rule = [trace for trace in figure.data if trace.name == RULE_OF_THUMB]
    assert [len(trace.y) for trace in ours] == [7, 7, 8, 8]
    assert tuple(ours[0].y) == ratios
    assert tuple(ours[0].customdata) == strategy.masked_counts(64)[:-1]
    assert {trace.line.color for trace in ours} == {"#123456"}
    assert {trace.line.dash for trace in rule} == {"dash"}
    assert tuple(rule[0].y) == RULE.mask_ratio
    assert sum(trace.showlegend is not False for trace in figure.data) == 2


def test_controls_are_drawn_apart_and_chance_does_not_flatten_the_others() -> None:
    names = ["random order", "more remask noise"]
    drawn = {name: CONTROLS[name](8) for name in names}
    figure = schedules(drawn, 64, dict.fromkeys(names, CONTROL_COLOUR))
    remask = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [trace.name for trace in remask] == [RULE_OF_THUMB, *names]
    assert len({trace.line.dash for trace in remask}) == 3
    assert max(remask[1].y) == pytest.approx(11.0)
    assert max(remask[2].y) == pytest.approx(10.0)
    assert tuple(remask[1].customdata) == (1e6,) * 7


def test_one_step_has_two_empty_schedules_and_says_so() -> None:
    figure = schedules({"tpe": GenerationStrategy((), (), (0.8,), (0.1,))}, 64, {"tpe": "red"})
    assert sum("because T = 1" in (trace.text or ("",))[0] for trace in figure.data) == 2
    assert [len(t.y) for t in figure.data if t.name == "tpe"] == [1, 1]


def test_schedules_of_several_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got T = \[4, 8\]"):
        schedules({"a": RULE, "b": GenerationStrategy.maskgit(4)}, 64, {"a": "red", "b": "blue"})
    with pytest.raises(ValueError, match=r"got T = \[\]"):
        schedules({}, 64, {})


def test_best_fid_counts_the_images_of_failures_but_not_their_fid() -> None:
    table = pd.DataFrame(
        {
            "fid": [9.0, np.nan, 1.0, 7.0, 8.0, math.inf],
            "images": [100, 100, 100, 200, 100, 100],
            "state": ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"],
        }
    )
    points, line = best_fid({"tpe": table}, {"tpe": "red"}).data
    assert list(line.x) == [100, 200, 300, 500, 600, 700]
    assert list(line.y) == [9, 9, 9, 7, 7, 7]
    assert [y for y in points.y if not math.isnan(y)] == [9, 7, 8]


def test_best_fid_of_failures_alone_is_empty() -> None:
    table = pd.DataFrame({"fid": [None, None], "images": [1, 1], "state": ["FAIL", "FAIL"]})
    _, line = best_fid({"tpe": table}, {"tpe": "red"}).data
    assert all(math.isnan(y) for y in line.y)


def test_final_test_puts_the_lowest_on_top_and_no_number_last() -> None:
    tests = {
        "none": FinalTest(math.nan, None, (math.nan,)),
        "worse": FinalTest(6.0, None, (6.0,)),
        "best": FinalTest(4.0, 0.1, (3.9, 4.1)),
    }
    figure = final_test(tests, dict.fromkeys(tests, "red"))
    assert figure.layout.yaxis.categoryarray == ("none", "worse", "best")
    means = {trace.y[0]: trace for trace in figure.data if trace.error_x.array}
    assert tuple(means["best"].error_x.array) == (0.1,)


@pytest.mark.parametrize(("worst", "scale"), [(5.0, None), (40.0, "log")])
def test_fids_that_differ_by_factors_get_a_log_scale(worst: float, scale: str | None) -> None:
    tests = {"a": FinalTest(4.0, 0.1, (4.0,)), "b": FinalTest(worst, 0.1, (worst,))}
    assert final_test(tests, {"a": "red", "b": "blue"}).layout.xaxis.type == scale


@pytest.mark.parametrize("values", [(2e-5, 9e-5), (2e-4, 0.1), (3.0, 40.0), (9e4, 9e6)])
def test_a_log_axis_has_ticks_wherever_its_values_lie(values: tuple[float, float]) -> None:
    ticks = value_axis(values)["tickvals"]
    assert sum(values[0] <= tick <= values[1] for tick in ticks) >= 3


def test_ten_searches_differ_in_more_than_colour() -> None:
    styles = [(symbol_of(colour), colour) for colour in colours(map(str, range(10))).values()]
    assert len({symbol for symbol, _ in styles}) == len({colour for _, colour in styles}) == 10


@pytest.mark.parametrize("paper", ["#ffffff", "#15181c"])
def test_colours_stand_out_from_light_and_dark_pages(paper: str) -> None:
    """By the contrast of 3 that WCAG 2 asks of graphics."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for colour in (*SEARCH_COLOURS, CONTROL_COLOUR):
        low, high = sorted([luminance(colour), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_what_is_far_above_the_best_is_counted_at_the_edge() -> None:
    fids = [10.0, 300.0, 6.0, 90.0]
    table = pd.DataFrame({"fid": fids, "images": [100] * 4, "state": ["COMPLETE"] * 4})
    figure = best_fid({"tpe": table}, {"tpe": SEARCH_COLOURS[0]})
    points, line = figure.data
    assert max(points.y) == pytest.approx(10.6)
    assert tuple(points.customdata) == tuple(fids)
    assert list(line.y) == [10, 10, 6, 6]
    assert [a.text for a in figure.layout.annotations] == ["2 evaluations above"]


def test_final_tests_stand_apart_from_what_the_search_saw() -> None:
    """Their n may be another one."""
    table = pd.DataFrame({"fid": [10.0], "images": [100], "state": ["COMPLETE"]})
    tests = {"tpe": FinalTest(5.0, 0.2, (5.0,)), "gp": FinalTest(math.nan, None, ())}
    levels = {RULE_OF_THUMB: 20.0}
    figure = best_fid(
        dict.fromkeys(tests, table),
        dict.fromkeys(tests, SEARCH_COLOURS[0]),
        tests=tests,
        levels=levels,
    )
    apart = [trace for trace in figure.data if trace.xaxis == "x2"]
    assert [(trace.name, trace.y[0]) for trace in apart] == [(RULE_OF_THUMB, 20.0), ("tpe", 5.0)]
    assert figure.layout.yaxis2.matches == "y"
