"""What an objective may hand back, and what becomes of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from search.gradient import Gradient
from search.measurement import Failure, Measurement
from search.optimiser import Probe, Training
from search.optimisers.replicates import Replicates
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.lab import Lab
from trials.objectives.measured import evaluate_probe, grow_probe, replicate
from trials.record.evaluation import evaluation_of, trial_of
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Study

FOUR = GenerationStrategy.maskgit(4)
PROBE = Probe(0, FOUR, 100, 2**31, 0, "start")
SOUND = Measurement(3.5, 0.25, 100, FOUR.forward_passes(), 1.0, ((50, 4.0),), spread=0.5)


class Answering:
    """Answers what it was made with."""

    tokens = 16

    def __init__(self, *answers: object) -> None:
        self._answers = answers

    def describe(self) -> dict[str, Any]:
        return {}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Any:
        return self._answers[0]

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Any]:
        yield from self._answers


def measured(**changes: Any) -> Measurement | Failure:
    return evaluate_probe(Answering(replace(SOUND, **changes)), PROBE)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": np.float32(3.5)},
        {"value": np.array(3.5)},
        {"value": torch.tensor(3.5)},
        {"standard_error": np.float32(0.25)},
        {"standard_error": torch.tensor(0.25, dtype=torch.float64)},
        {"images": np.int64(100)},
        {"images": 100.0},
        {"forward_passes": torch.tensor(FOUR.forward_passes())},
        {"seconds": np.float64(1.0)},
        {"seconds": 1},
        {"value_at": [[np.int64(50), np.float32(4.0)]]},
        {"training_steps": np.int32(0)},
        {"spread": np.float32(0.5)},
    ],
)
def test_scalars_of_libraries_become_plain_numbers(changes: dict[str, Any]) -> None:
    found = measured(**changes)
    assert found == SOUND
    assert json.loads(json.dumps(asdict(found))) == json.loads(json.dumps(asdict(SOUND)))
    kinds = [type(value) for value in asdict(found).values()]
    assert kinds == [type(value) for value in asdict(SOUND).values()]


COVARIANCES = (*[((0.0,) * 3,) * 3] * 3, ((0.0,) * 2,) * 2)
"""Of a gradient at T = 4."""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": "3.5"}, "value = '3.5' is not a number"),
        ({"value": 3.5 + 0j}, "value = (3.5+0j) is not a number"),
        ({"value": np.complex64(3.5)}, "value = "),
        ({"value": True}, "value = True is not a number"),
        ({"value": None}, "value = None is not a number"),
        ({"value": Decimal(3)}, "value = Decimal('3') is not a number"),
        ({"value": torch.ones(3)}, "value = tensor"),
        ({"value": float("nan")}, "value = nan is not finite"),
        ({"value": 10**400}, "value = inf is not finite"),
        ({"standard_error": -0.1}, "standard_error = -0.1 is less than 0"),
        ({"standard_error": float("nan")}, "standard_error = nan is not finite"),
        ({"seconds": -1.0}, "seconds = -1.0 is less than 0"),
        ({"seconds": float("nan")}, "seconds = nan is not finite"),
        ({"images": 50}, "expected a measurement of 100 images, got images = 50"),
        ({"images": 200}, "expected a measurement of 100 images, got images = 200"),
        ({"images": 100.5}, "images = 100.5 is not a whole number"),
        ({"forward_passes": 4}, "forward_passes = 4, but the strategy needs"),
        ({"value_at": ((100, 4.0),)}, "value_at has n = 100, which is outside [1, 100)"),
        ({"value_at": ((50, float("nan")),)}, "value_at = nan is not finite"),
        ({"metric": None}, "metric = None is not a name"),
        ({"value_at": 4.0}, "value_at: expected pairs of n and a value, got 4.0"),
        ({"value_at": ((50,),)}, "value_at: expected pairs of n and a value, got ((50,),)"),
        (
            {"gradient": Gradient((None,) * 11, ())},
            "gradient: expected 11 values and 4 covariances for T = 4, got 11 and 0",
        ),
        (
            {"gradient": Gradient((None,) * 11, COVARIANCES)},
            "gradient: expected 11 numbers and 4 covariances of numbers, got (None, None, ",
        ),
        (
            {"gradient": Gradient(3.0, COVARIANCES)},
            "gradient: expected 11 numbers and 4 covariances of numbers, got 3.0 and ",
        ),
        ({"validation_loss": "low"}, "validation_loss = 'low' is not a number"),
    ],
)
def test_what_is_no_measurement_fails_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    found = measured(**changes)
    assert isinstance(found, Failure)
    assert found.reason.startswith(reason)
    with pytest.raises(ValueError, match=r"^n = 100, seed 7: ") as caught:
        replicate(Answering(replace(SOUND, **changes)), FOUR, 100, [7], lambda *_: None)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        (RuntimeError("no memory"), r"^n = 100, seed 9: .*no memory.*; measured before, n = 100, "),
        (KeyboardInterrupt(), "^measured before, n = 100, "),
    ],
)
def test_what_was_measured_before_a_seed_failed_is_told(stop: BaseException, line: str) -> None:
    class Stops(Answering):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Any:
            if seed == 9:
                raise stop
            return replace(SOUND, value=float(seed))

    error = ValueError if isinstance(stop, Exception) else KeyboardInterrupt
    with pytest.raises(error, match=f"{line}seed 7: FID 7, seed 8: FID 8$"):
        replicate(Stops(), FOUR, 100, [7, 8, 9], lambda *_: None)


def test_a_measurement_is_of_the_metric_that_is_described() -> None:
    line = (
        "objective Answering: expected a measurement of the metric 'fid', which its describe() "
        "says in protocol.metric, got one of 'kid'"
    )
    with pytest.raises(ValueError, match="^objective Answering") as caught:
        replicate(Answering(replace(SOUND, metric="kid")), FOUR, 100, [7], lambda *_: None)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("seeds", "line"), [([], "expected at least one, got none"), ([7, 8, 7], "7 is named twice")]
)
def test_seeds_that_make_no_test(seeds: list[int], line: str) -> None:
    with pytest.raises(ValueError, match=f"^seeds: {line}$"):
        replicate(Answering(SOUND), FOUR, 100, seeds, lambda *_: None)


def test_each_rung_is_of_its_own_n() -> None:
    rungs = (25, 50, 100)
    sound = [replace(SOUND, images=n, value=np.float32(3.5), value_at=()) for n in rungs]
    assert [found.images for found in grow_probe(Answering(*sound), PROBE, rungs)] == [*rungs]  # type: ignore[union-attr]
    wrong = list(grow_probe(Answering(sound[0], sound[2]), PROBE, rungs))
    assert wrong[1:] == [Failure("expected a measurement of 50 images, got images = 100")]
    few = list(grow_probe(Answering(sound[0]), PROBE, rungs))
    assert few[1:] == [Failure("evaluate_growing ended before n = 50")]


def test_a_training_is_of_the_steps_that_were_asked() -> None:
    class Trains:
        def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
            for steps in rungs:
                yield replace(SOUND, training_steps=min(steps, 20))

    asked = replace(PROBE, training=Training(TrainingStrategy("uniform"), 40, 1))
    found = list(grow_probe(Trains(), asked, (20, 40)))
    assert found == [
        replace(SOUND, training_steps=20),
        Failure("expected 40 training steps, got training_steps = 20"),
    ]


def test_fewer_images_than_asked_do_not_buy_more_evaluations(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    asked = Replicates({"start": FOUR}, 100, range(3))
    few = Answering(replace(SOUND, images=10))
    run_local(Study(asked, record, None, 3, lambda _: None), few)
    assert [e.state for e in record.evaluations] == ["FAIL"] * 3


def test_what_passes_can_be_recorded(lab: Lab) -> None:
    from datetime import datetime

    found = measured(value=np.float32(3.5), standard_error=np.float32(0.25), seconds=np.float32(1))
    trial = trial_of(PROBE, found, None, datetime.now())
    assert json.loads(json.dumps(trial.user_attrs, allow_nan=False)) == trial.user_attrs


def test_a_gradient_is_recorded_and_read_back() -> None:
    from datetime import datetime

    gradient = Gradient((1.0, -2.0), (((0.5, 0.1), (0.1, 0.25)),))
    one_step = GenerationStrategy((), (), (1.0,), (0.0,))
    probe = replace(PROBE, strategy=one_step, gradient=True)
    measured_ = replace(SOUND, forward_passes=one_step.forward_passes(), gradient=gradient)
    read = evaluation_of(trial_of(probe, measured_, None, datetime.now()))
    assert read.probe == probe
    assert read.measurement is not None
    assert read.measurement.gradient == gradient
