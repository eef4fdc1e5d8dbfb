from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from search.bound import Bound
from search.optimiser import TrainingBudget
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy

GENERATION = GenerationStrategy.maskgit(3)
BETA = TrainingStrategy("beta", {"alpha": 2, "beta": 1})


def test_vectors_stand_for_strategies() -> None:
    space = TrainingSpace(BETA, GENERATION, {"alpha": Bound(1, 4, log=True)})
    assert space.names == ("alpha", "beta")
    assert space.low.tolist() == [1, 0.3]
    assert space.high.tolist() == [4, 30]
    generation, training = space.pair(space.start_vector)
    assert (generation, training) == (GENERATION, BETA)
    assert space.to_unit(space.start_vector)[0] == pytest.approx(0.5)
    np.testing.assert_allclose(space.from_unit(np.array([0.5, 2.0])), [2, 30])


def test_both_at_once() -> None:
    space = JointSpace(TrainingSpace(BETA, GENERATION), Space(GENERATION))
    assert space.names[:2] == ("alpha", "beta")
    assert len(space.names) == 2 + 10 == len(space.low) == len(space.high) == len(space.log)
    vector = space.start_vector
    vector[1], vector[-1] = 3.0, 0.25
    generation, training = space.pair(vector)
    assert training == TrainingStrategy("beta", {"alpha": 2, "beta": 3})
    assert generation.guidance_scale[-1] == 0.25
    assert generation.mask_ratio == GENERATION.mask_ratio


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: TrainingSpace(TrainingStrategy("cosine"), GENERATION), "has no parameters"),
        (lambda: TrainingSpace(BETA, GENERATION, {"mean": Bound(0, 1)}), "has no mean; it has"),
        (
            lambda: TrainingSpace(BETA, GENERATION, {"alpha": Bound(3, 9)}),
            r"start's alpha = 2.0 is outside its bounds \[3, 9\]",
        ),
        (
            lambda: TrainingSpace(
                TrainingStrategy("truncated-normal", {"mean": 0.5, "deviation": 1}),
                GENERATION,
                {"mean": Bound(0, 2)},
            ),
            r"the bound of mean = 2 is outside \[0, 1\]",
        ),
        (lambda: TrainingBudget(900, 1000, 100), "training_budget = 900 steps is less than one"),
        (lambda: TrainingBudget(900, 0, 100), "training_steps_per_evaluation = 0 is not positive"),
    ],
)
def test_what_cannot_be(make: Callable[[], object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
