"""Measurements with gradients: the images that an evaluation measures, and how they change."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from docs.extending.captioned import CaptionedObjective
from models.metrics.leading_fid import LeadingFID
from models.metrics.metric import METRICS
from search.measurement import Failure, Measurement
from search.optimiser import DONE, Budget, Probe
from search.optimisers.coarse_to_fine import CoarseToFine
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.digits import DigitsObjective
from trials.objectives.letters.objective import LettersObjective
from trials.objectives.measured import evaluate_probe, evaluate_probes
from trials.objectives.objective import MeasuresGradients
from trials.objectives.scoring import measure_scored
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.runners.evaluation_trial import _told, read_outcomes
from trials.runners.local_runner import run_local
from trials.runners.study import Study

FOUR = GenerationStrategy.maskgit(4)
N = 130


def test_an_evaluation_with_a_gradient_measures_the_same_images(trained: DigitsObjective) -> None:
    assert isinstance(trained, MeasuresGradients)
    found = trained.evaluate_with_gradient(FOUR, N, 5)
    plain = trained.evaluate(FOUR, N, 5)
    assert found.value == pytest.approx(plain.value)
    assert found.standard_error == pytest.approx(plain.standard_error)
    assert plain.gradient is None
    assert found.gradient is not None
    assert found.gradient.steps == 4
    assert len(found.gradient.values) == 11
    assert found == Measurement.from_json(json.loads(json.dumps(dataclasses.asdict(found))))


def test_a_step_along_the_gradient_lowers_fid(trained: DigitsObjective) -> None:
    found = trained.evaluate_with_gradient(FOUR, 500, 5).gradient
    assert found is not None
    values = zip(FOUR.sampling_temperature, found.values, strict=False)
    moved = FOUR.with_values(
        {"sampling_temperature": [t * math.exp(-0.05 * slope) for t, slope in values]}
    )
    assert trained.evaluate(moved, 500, 6).value < trained.evaluate(FOUR, 500, 6).value


def letters(metric: str) -> LettersObjective:
    objective = LettersObjective(metric=metric)
    objective.prepare(Path(), lambda *_: None)
    return objective


def test_a_gradient_sees_what_its_metric_sees() -> None:
    leading = letters("fid-leading")
    few = leading.evaluate_with_gradient(FOUR, 144, 5)  # FID needs 293
    assert few.value == pytest.approx(leading.evaluate(FOUR, 144, 5).value)
    assert few.gradient is not None
    _, scored, real = measure_scored(leading._generating, leading._yardstick, FOUR, 36, 5)
    assert scored.features.shape == (36, 128)
    assert {scored.forecasts.shape[-1], *real.mean.shape, *real.covariance.shape} == {128}


def test_the_gradient_along_all_directions_is_that_of_fid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS._registered, "every", lambda: LeadingFID(292))
    one, other = (
        letters(metric).evaluate_with_gradient(FOUR, 324, 5) for metric in ("fid", "every")
    )
    assert one.gradient is not None
    assert other.gradient is not None
    assert other.value == pytest.approx(one.value)
    assert other.gradient.values == pytest.approx(one.gradient.values, abs=1e-4)


def test_a_generator_of_ones_own_has_gradients() -> None:
    assert CaptionedObjective().evaluate_with_gradient(FOUR, 120, 0).gradient is not None


@pytest.mark.parametrize(
    "cold",
    [{"sampling_temperature": (1.0, 0.0, 1.0, 1.0)}, {"remask_temperature": (1.0, 0.0, 1.0)}],
)
def test_a_temperature_of_0_has_no_gradient_but_a_value(
    trained: DigitsObjective, cold: dict[str, Any]
) -> None:
    strategy = dataclasses.replace(FOUR, **cold)
    found = trained.evaluate_with_gradient(strategy, N, 5)
    assert found.gradient is None
    assert found.value == trained.evaluate(strategy, N, 5).value


def test_probes_ask_for_gradients_one_by_one(trained: DigitsObjective) -> None:
    probes = [Probe(i, FOUR, N, 5, 0, "sample", gradient=i < 2) for i in range(4)]
    found = evaluate_probes(trained, probes)
    assert all(isinstance(one, Measurement) for one in found)
    assert [getattr(one, "gradient", None) is not None for one in found] == [True, True] + [
        False
    ] * 2
    values = {round(getattr(one, "value", 0.0), 6) for one in found}
    assert len(values) == 1


def test_an_objective_without_gradients_fails_in_one_line() -> None:
    probe = Probe(0, FOUR, N, 5, 0, "sample", gradient=True)
    found = evaluate_probe(SimulatedObjective(), probe)
    assert isinstance(found, Failure)
    assert "SimulatedObjective lacks the methods check_gradients and evaluate" in found.reason


@pytest.mark.parametrize(
    ("settings", "space", "images", "said"),
    [
        ({"metric": "kid"}, Space(FOUR), 100, "metrics fid, fid-infinity, fid-leading, got kid"),
        ({}, Space(FOUR), 19, "n >= 20, got n = 19"),
        (
            {},
            Space(
                dataclasses.replace(FOUR, remask_temperature=(1.0, 0.0, 1.0)),
                frozen=("remask_temperature",),
            ),
            100,
            "a frozen remask_temperature above 0",
        ),
    ],
)
def test_what_has_no_gradient_is_refused(
    settings: dict[str, Any], space: Space, images: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        DigitsObjective(**settings).check_gradients(space, images)


def test_a_temperature_that_no_order_uses_may_be_0() -> None:
    cold = dataclasses.replace(FOUR, remask_temperature=(0.0,) * 3, token_order="halton")
    frozen = ("remask_temperature",)
    DigitsObjective().check_gradients(Space(cold, frozen=frozen), 100)
    both = Space(cold, frozen=frozen, choices={"token_order": ("halton", "confidence")})
    with pytest.raises(ValueError, match="a frozen remask_temperature above 0"):
        DigitsObjective().check_gradients(both, 100)


def test_a_search_with_gradients_is_resumed_by_its_record(
    trained: DigitsObjective, lab: Lab
) -> None:
    def study(record: Record) -> Study:
        space, budget = Space(FOUR), Budget(1_400, 100)
        made = CoarseToFine(space, budget, 0, trained.tokens, gradients=True, max_in_flight=1)
        return Study(made, record, space, budget.evaluations, lambda _: None)

    run_local(study(Record.create(lab.record_url, "study", {})), trained)
    record = Record.open(lab.record_url, "study")
    assert sum(e.probe.gradient for e in record.evaluations) == 12
    again = study(Record.open(lab.record_url, "study"))
    assert again.next() is DONE  # each probe was asked again, and answered by the record
    assert again.finished


def test_gradients_come_back_from_workers(trained: DigitsObjective) -> None:
    found = trained.evaluate_with_gradient(FOUR, N, 5)
    assert read_outcomes(json.dumps([_told(found)])) == [found]


def test_one_step_has_two_derivatives(trained: DigitsObjective) -> None:
    once = GenerationStrategy((), (), (1.0,), (0.5,))
    found = trained.evaluate_with_gradient(once, N, 5).gradient
    assert found is not None
    assert len(found.values) == 2
