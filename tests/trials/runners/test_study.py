from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from search.measurement import Failure, Measurement
from search.optimiser import DONE, FIRST_SEARCH_SEED, WAIT, Budget
from search.optimisers.replicates import Replicates
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.measured import evaluate_probe
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Job, Study

SPACE = Space(GenerationStrategy.maskgit(3))
BUDGET = Budget(24 * 100, 100)
OBJECTIVE = SimulatedObjective()
SEEDS = range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + 5)


def study(record: Record, optimiser: str, seed: int = 0) -> Study:
    made = make_optimiser(optimiser, SPACE, BUDGET, seed)
    return Study(made, record, SPACE, BUDGET.evaluations, lambda _: None)


def evaluations(record: Record) -> dict[int, tuple[object, float]]:
    return {
        e.probe.number: (e.probe, e.measurement.value if e.measurement else -1.0)
        for e in record.evaluations
    }


def test_a_strategy_that_differs_only_in_a_choice_is_not_answered_from_the_record(
    lab: Lab,
) -> None:
    record = Record.create(lab.record_url, "study", {})
    other = dataclasses.replace(SPACE.start, token_order="random")
    run_local(Study(Replicates({"a": other}, 100, [1]), record, None, 1, lambda _: None), OBJECTIVE)
    again = Study(Replicates({"a": SPACE.start}, 100, [1]), record, None, 1, lambda _: None)
    with pytest.raises(ValueError, match="the recorded probe 0 is not the one"):
        again.next()


def test_what_the_optimiser_says_of_convergence_is_recorded(lab: Lab) -> None:
    class Soon(Replicates):
        @property
        def converged(self) -> int | None:
            return 3 if len(record.evaluations) >= 3 else None

    record = Record.create(lab.record_url, "soon", {})
    optimiser = Soon({"start": SPACE.start}, 100, seeds=range(5))
    run_local(Study(optimiser, record, SPACE, 5, lambda _: None), OBJECTIVE)
    assert len(record.evaluations) == 5
    assert Record.open(lab.record_url, "soon").converged == 3


def test_a_result_of_another_metric_than_the_record_s_is_refused_at_once(lab: Lab) -> None:
    settings = {"objective": {"name": "mine"}, "protocol": {"metric": "kid"}}
    record = Record.create(lab.record_url, "mixed", settings)
    line = "objective mine: expected a measurement of the metric 'kid', .* got one of 'fid'"
    with pytest.raises(ValueError, match=line):
        run_local(study(record, "random"), OBJECTIVE)
    assert record.evaluations == ()


@pytest.mark.parametrize("optimiser", ["autonat-reference", "tpe", "cmaes"])
@pytest.mark.parametrize("killed_after", [1, 9, 17])
def test_killed_and_resumed_equals_not_interrupted(
    lab: Lab, optimiser: str, killed_after: int
) -> None:
    whole = Record.create(lab.record_url, "whole", {})
    run_local(study(whole, optimiser), OBJECTIVE)

    cut = Record.create(lab.record_url, "cut", {})
    first, in_flight = study(cut, optimiser), []
    chance = random.Random(killed_after)
    while len(cut.evaluations) < killed_after:
        job = first.next()
        if isinstance(job, Job):
            in_flight.append(job)
        if not isinstance(job, Job) or len(in_flight) == 3:
            done = in_flight.pop(chance.randrange(len(in_flight)))
            done.finish(evaluate_probe(OBJECTIVE, done.probe))
    resumed = Record.open(lab.record_url, "cut")  # what was in flight is lost
    run_local(study(resumed, optimiser), OBJECTIVE)

    assert evaluations(resumed) == evaluations(whole)
    assert len(resumed.evaluations) == len(whole.evaluations)  # none twice


def test_an_optimiser_that_asks_for_no_probe_is_refused_in_a_line(lab: Lab) -> None:
    class Wrong(Replicates):
        def ask(self) -> Any:
            return "next"

    record = Record.create(lab.record_url, "wrong", {})
    wrong = Study(Wrong({}, 100, seeds=range(5)), record, SPACE, 5, lambda _: None)
    with pytest.raises(ValueError, match="study wrong: expected a Probe, WAIT or DONE .* 'next'"):
        run_local(wrong, OBJECTIVE)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 1}, r"expected seeds of 2147483648 or more, .* got 1 for probe 0"),
        ({"number": 0}, "expected a new number for each probe, got 0 again"),
        ({"seed": None}, "expected seed of a Probe to be an int, got None"),
    ],
)
def test_probes_that_would_spoil_a_record_or_its_final_test_are_refused(
    lab: Lab, change: dict[str, Any], line: str
) -> None:
    class Changed(Replicates):
        def ask(self) -> Any:
            return dataclasses.replace(super().ask(), **change)  # type: ignore[type-var]

    record = Record.create(lab.record_url, "changed", {"kind": "search"})
    made = Study(Changed({"a": SPACE.start}, 100, SEEDS), record, SPACE, 5, lambda _: None)
    with pytest.raises(ValueError, match=f"^study changed: {line}"):
        run_local(made, OBJECTIVE)


def test_errors_of_somebody_s_optimiser_are_one_line(lab: Lab) -> None:
    def fails(*_: object) -> Any:
        raise KeyError("mine")

    for method, answer, line in (
        ("ask", fails, r"optimiser x, in ask\(\): KeyError"),
        ("tell", fails, r"optimiser x, in tell\(\): KeyError"),
        ("ask", lambda _: WAIT, "ask\\(\\) said WAIT while no result was to come"),
    ):
        theirs = type("Theirs", (Replicates,), {method: answer, "__module__": "theirs"})
        record = Record.create(lab.record_url, f"by {method} {line[:3]}", {"optimiser": "x"})
        made = Study(theirs({"a": SPACE.start}, 100, SEEDS), record, SPACE, 5, lambda _: None)
        with pytest.raises(ValueError, match=line) as caught:
            run_local(made, OBJECTIVE)
        assert "\n" not in str(caught.value)


def test_a_finished_study_asks_for_nothing(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    run_local(study(record, "random"), OBJECTIVE)
    again = study(Record.open(lab.record_url, "study"), "random")
    assert again.next() is DONE
    assert again.finished


def test_a_record_of_another_search_is_refused(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    run_local(study(record, "random"), OBJECTIVE)
    with pytest.raises(ValueError, match="the recorded probe 0 is not the one"):
        study(Record.open(lab.record_url, "study"), "tpe", seed=7).next()


class Failing:
    """Every third evaluation fails, in one of several ways."""

    tokens = 64

    def __init__(self, fail: Callable[[], object]) -> None:
        self._fail, self._calls = fail, 0

    def describe(self) -> dict[str, object]:
        return {}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> object:
        self._calls += 1
        good = OBJECTIVE.evaluate(strategy, images, seed)
        return self._fail() if self._calls % 3 == 0 else good


def _raise() -> object:
    raise RuntimeError("out of memory\nin two lines")


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (_raise, "RuntimeError: out of memory"),
        (lambda: 3.5, "evaluate: expected a Measurement, got float"),
        (
            lambda: dataclasses.replace(OBJECTIVE.evaluate(SPACE.start, 10, 0), value=float("nan")),
            "value = nan",
        ),
    ],
)
def test_failures_are_recorded_with_their_reason_and_survived(
    lab: Lab, fail: Callable[[], object], reason: str
) -> None:
    record = Record.create(lab.record_url, "study", {})
    run_local(study(record, "tpe"), Failing(fail))  # type: ignore[arg-type]
    failed = [e.result for e in record.evaluations if isinstance(e.result, Failure)]
    assert len(record.evaluations) == 24
    assert len(failed) == 8
    assert all(f.reason.startswith(reason) and "\n" not in f.reason for f in failed)


def asked_by(optimiser: str, lab: Lab, name: str, together: int, objective: Any) -> Record:
    record = Record.create(lab.record_url, name, {})
    run_local(study(record, optimiser), objective, together)
    return Record.open(lab.record_url, name)


class Together(SimulatedObjective):
    """Notes how many are measured at once."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once: list[int] = []

    def evaluate_together(
        self, strategies: Sequence[GenerationStrategy], images: int, seeds: Sequence[int]
    ) -> list[Measurement]:
        self.at_once.append(len(strategies))
        pairs = zip(strategies, seeds, strict=True)
        return [self.evaluate(strategy, images, seed) for strategy, seed in pairs]


@pytest.mark.parametrize("optimiser", ["random", "cmaes", "tpe", "autonat-reference"])
def test_evaluations_at_once_are_those_of_one_by_one(lab: Lab, optimiser: str) -> None:
    objective = Together()
    found = asked_by(optimiser, lab, "together", 3, objective)
    assert evaluations(found) == evaluations(asked_by(optimiser, lab, "alone", 1, OBJECTIVE))
    assert max(objective.at_once) == 3
    # A part of them was lost: the search goes on as if nothing had happened.
    kept = Record.create(lab.record_url, "kept", {})
    for evaluation in found.evaluations[:7]:
        kept.add(evaluation.probe, evaluation.result, SPACE)
    run_local(study(Record.open(lab.record_url, "kept"), optimiser), Together(), 4)
    assert evaluations(Record.open(lab.record_url, "kept")) == evaluations(found)


def test_what_was_measured_at_once_is_recorded_before_an_error_ends_the_search(lab: Lab) -> None:
    def refuse(_: Study) -> None:
        raise ValueError("enough")

    record = Record.create(lab.record_url, "study", {})
    made = make_optimiser("random", SPACE, BUDGET, 0)
    with pytest.raises(ValueError, match="enough"):
        run_local(Study(made, record, SPACE, 24, refuse), Together(), 4)
    assert len(Record.open(lab.record_url, "study").evaluations) == 4
