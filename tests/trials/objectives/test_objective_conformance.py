"""What every objective must do, run on each of ours."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.objective import Grows, Objective
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.tabulated import TabulatedObjective
from trials.testing import check_gradients, check_objective

pytestmark = pytest.mark.timeout(1200)
FOUR = GenerationStrategy.maskgit(4)


@pytest.fixture(params=["simulated", "tabulated", "digits", "images"])
def objective(request: pytest.FixtureRequest) -> Objective:
    if request.param == "simulated":
        return SimulatedObjective()
    if request.param == "tabulated":
        return TabulatedObjective(table=str(request.getfixturevalue("small_table")))
    trained: Objective = request.getfixturevalue(
        "trained" if request.param == "digits" else "trained_images"
    )
    return trained


def test_it_does_what_every_objective_does(objective: Objective) -> None:
    assert isinstance(objective, Grows)
    check_objective(objective, FOUR)


def test_all_numbers_of_steps_are_legal(objective: Objective) -> None:
    if isinstance(objective, TabulatedObjective):
        with pytest.raises(ValueError, match="is of T = 4 steps, not 1"):
            objective.evaluate(GenerationStrategy.maskgit(1), 80, 1)
        return
    for steps in (1, objective.tokens):
        strategy = dataclasses.replace(
            GenerationStrategy.maskgit(steps), guidance_scale=(0.0,) * steps
        )
        assert objective.evaluate(strategy, 80, 1).finite


@pytest.mark.parametrize(
    ("does", "line"),
    [
        (lambda m, calls: {"value": m.value + calls}, "the same strategy, n and seed gave"),
        (lambda m, calls: {"value": 1.0}, "another seed gave exactly the same value, 1.0"),
        (lambda m, calls: {"images": 3}, "expected images = 130 in the measurement, got 3"),
        (lambda m, calls: {"forward_passes": 3}, "in the measurement, got 3"),
        (
            lambda m, calls: {"metric": "kid"},
            "expected the metric of its description, 'fid', got 'kid'",
        ),
        (lambda m, calls: {"standard_error": 9.0}, "the stated standard error is 9,"),
    ],
)
def test_what_one_does_not_do_is_said_in_a_sentence(
    does: Any, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = SimulatedObjective.evaluate
    calls = 0

    def wrong(self: SimulatedObjective, *asked: Any) -> Any:
        nonlocal calls
        calls += 1
        found = right(self, *asked)
        return dataclasses.replace(found, **does(found, calls))

    monkeypatch.setattr(SimulatedObjective, "evaluate", wrong)
    with pytest.raises(AssertionError, match=line):
        check_objective(SimulatedObjective())


class Off(SimulatedObjective):
    """Measures something else when it is asked for a gradient, too."""

    def check_gradients(self, space: Space, images: int) -> None: ...

    def evaluate_with_gradient(
        self, strategy: GenerationStrategy, images: int, seed: int
    ) -> Measurement:
        return dataclasses.replace(self.evaluate(strategy, images, seed), value=1.0)


def test_a_gradient_comes_with_the_value_of_an_evaluation() -> None:
    with pytest.raises(AssertionError, match=r"evaluate_with_gradient gives 1.0, evaluate \d"):
        check_gradients(Off(), FOUR, 130)
