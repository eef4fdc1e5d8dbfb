from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from search.first_strategies import first_strategies
from search.measurement import Failure, Measurement
from search.number_text import span
from search.optimiser import RETEST, Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.results.progress import search_progress
from trials.results.results import method_results, spent

T, N = 4, 100
SPACE = Space(GenerationStrategy.maskgit(T))
SEARCH = {
    "budget": 8 * N,
    "images_per_evaluation": N,
    "steps": T,
    "optimisers": ["tpe", "qmc"],
    "controls": ["rule of thumb"],
    "test_seeds": [1, 2],
    "test_images": 2 * N,
}
SECONDS = 2000.0
"""Of an evaluation; so many that those of the test itself do not count."""
LONG_AGO = datetime(2000, 1, 1)


def record(lab: Lab, method: str, **changed: Any) -> Record:
    settings = {
        **describe("simulated", {}, SimulatedObjective()),
        "space": SPACE.to_json(),
        "kind": "search",
        "search_name": "s",
        "optimiser": method,
        "search": SEARCH,
    }
    return Record.create(lab.record_url, f"s-{method}", settings | changed)


def add(
    to: Record,
    value: float | None,
    strategy: GenerationStrategy = SPACE.start,
    role: str = "sample",
    images: int = N,
    number: int | None = None,
) -> None:
    number = len(to.evaluations) if number is None else number
    probe = Probe(number, strategy, N, number, 0, role)
    result = Failure("x") if value is None else Measurement(value, value / 10, images, 4, SECONDS)
    to.add(probe, result, SPACE)


def test_a_method_s_numbers_are_those_of_its_record(lab: Lab) -> None:
    tpe, qmc = record(lab, "tpe"), record(lab, "qmc")
    for value in (20.0, None, 12.0, 15.0):
        add(tpe, value, dataclasses.replace(SPACE.start, sampling_temperature=(0.9,) * T))
    add(tpe, 1.0, images=N // 2)  # stopped early, so that its value does not compare
    told = search_progress([tpe, qmc], LONG_AGO, {"s-tpe": 2})
    first, second, test = told.methods
    assert (first.method, first.done, first.failed, first.total) == ("tpe", 5, 1, 8)
    assert (first.best, first.in_flight, second.in_flight) == ((12.0, 1.2), 2, 0)
    assert (second.done, second.best, second.speed, second.left) == (0, None, None, None)
    assert (test.method, test.study, test.done, test.total) == (None, "s-test", 0, 6)
    # The seconds of the first evaluation count: the first line must not promise too little.
    assert first.speed == pytest.approx((4 * N + N / 2) / SECONDS, rel=0.05)
    assert first.left == pytest.approx(3 * SECONDS / 5, rel=0.05)
    images = 3 * N + 8 * N + 6 * 2 * N
    assert told.left == pytest.approx(images * SECONDS / (4.5 * N), rel=0.05)
    idle = search_progress([tpe, qmc])
    assert (idle.left, idle.methods[0].speed, idle.methods[0].in_flight) == (None, None, None)


def test_what_stopped_evaluations_save_pays_for_more(lab: Lab) -> None:
    tpe = record(lab, "tpe", search=SEARCH | {"optimisers": ["tpe"]})
    for images in (N // 4, N // 4, N, N // 2, *(N,) * 4):
        add(tpe, 10.0, images=images)
    told = search_progress([tpe]).methods[0]
    assert (told.done, told.total, told.finished) == (8, 10, False)
    for _ in range(2):
        add(tpe, 10.0)
    assert search_progress([tpe]).methods[0].finished


def test_the_best_never_rises_not_even_at_the_retests(lab: Lab) -> None:
    tpe, seen = record(lab, "tpe"), []
    for value, role in ((20.0, "sample"), (12.0, "sample"), (15.0, RETEST), (14.0, RETEST)):
        add(tpe, value, role=role)
        seen.append(search_progress([tpe], LONG_AGO).methods[0])
    assert [method.best and method.best.value for method in seen] == [20, 12, 12, 12]


def test_nor_while_failures_are_tried_again(lab: Lab) -> None:
    tpe = record(lab, "tpe")
    for value in (20.0, None, 12.0):
        add(tpe, value)
    tpe.retry_failed()
    now = datetime.now() + timedelta(seconds=1)
    # The 12 may be superseded when the failed probe gives another course to what follows.
    best = search_progress([tpe], now).methods[0].best
    assert best is not None
    assert best.value == 20.0
    tpe.settle()
    best = search_progress([tpe], now).methods[0].best
    assert best is not None
    assert best.value == 12.0


def test_a_winner_that_is_a_control_has_its_name(lab: Lab) -> None:
    tpe = record(lab, "tpe")
    add(tpe, 20.0)
    found = first_strategies(SPACE, 64)
    add(tpe, 12.0, found["random order"])
    assert method_results([tpe])[0].begun_with == "random order"
    add(tpe, 9.0, SPACE.start.with_values({"mask_ratio": [0.9, 0.6, 0.3]}))
    assert method_results([tpe])[0].begun_with is None


def test_what_was_superseded_was_paid_for(lab: Lab) -> None:
    tpe = record(lab, "tpe")
    for value in (20.0, None, 12.0):
        add(tpe, value)
    tpe.retry_failed()
    tpe.supersede(tpe.evaluations[-1:])
    cost = spent(tpe)
    assert cost["evaluations"] == len(tpe.evaluations) == 1
    assert cost["images"] == 3 * N
    assert method_results([tpe])[0].seconds == 2 * SECONDS  # a failure's are not known


def test_controls_are_those_that_the_methods_measured_first(lab: Lab) -> None:
    tpe = record(lab, "tpe")
    assert search_progress([tpe], LONG_AGO).controls == {}
    add(tpe, 30.0, role="start")
    assert search_progress([tpe], LONG_AGO).controls == {"rule of thumb": (30.0, 3.0)}
    add(tpe, 20.0, first_strategies(SPACE, 64)["more remask noise"], "control")
    told = search_progress([tpe], LONG_AGO).controls
    assert list(told) == ["rule of thumb", "more remask noise"]
    assert told["more remask noise"].value == 20.0


def test_a_finished_search_has_nothing_left(lab: Lab) -> None:
    tpe = record(lab, "tpe", search=SEARCH | {"optimisers": ["tpe"]})
    add(tpe, 20.0)  # it stopped before its budget was spent
    strategies = {"tpe": SPACE.start.to_json(), "rule of thumb": SPACE.start.to_json()}
    test = record(lab, "test", kind="test", strategies=strategies, search=SEARCH)
    assert [m.finished for m in search_progress([tpe, test], LONG_AGO).methods] == [True, False]
    for _ in range(4):
        add(test, 10.0)
    told = search_progress([tpe, test], LONG_AGO)
    assert [m.finished for m in told.methods] == [True, True]
    assert [m.left for m in told.methods] == [None, None]
    assert (told.left, told.methods[1].best) == (0.0, None)
    test.reopen()
    assert [m.finished for m in search_progress([tpe, test]).methods] == [True, False]
    tpe.reopen()
    assert [m.finished for m in search_progress([tpe, test]).methods] == [False, False]


def test_where_models_are_trained_steps_are_counted(lab: Lab) -> None:
    asked = SEARCH | {"what": "training", "training_budget": 400, "training_steps": 100}
    told = search_progress([record(lab, "tpe", search=asked, space={})], LONG_AGO)
    assert told.unit == "training steps"
    assert [method.total for method in told.methods] == [4, 6]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (99, "99 s"), (200, "3 min"), (7800, "2 h 10 min"), (200_000, "2 d 8 h")],
)
def test_a_span_of_time_is_said_in_words(seconds: float, text: str) -> None:
    assert span(seconds) == text
