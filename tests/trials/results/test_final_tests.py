from __future__ import annotations

from dataclasses import replace

from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.results.final_tests import Tested

STRATEGY = GenerationStrategy.maskgit(3)
TRAINING = TrainingStrategy("beta", {"alpha": 2.0, "beta": 1.0})


def test_a_test_is_of_a_strategy_up_to_the_last_digits_of_its_values() -> None:
    tested = Tested(STRATEGY, 100, None, {}, [])
    moved = replace(STRATEGY, sampling_temperature=(1.0 + 1e-12, 1.0, 1.0))
    assert tested.is_of(moved, None)
    assert not tested.is_of(replace(STRATEGY, sampling_temperature=(1.01, 1.0, 1.0)), None)
    assert not tested.is_of(replace(STRATEGY, token_order="random"), None)


def test_a_test_is_of_a_training_too() -> None:
    tested = Tested(STRATEGY, 100, TRAINING, {}, [])
    assert tested.is_of(STRATEGY, TrainingStrategy("beta", {"alpha": 2.0 + 1e-12, "beta": 1.0}))
    assert not tested.is_of(STRATEGY, TrainingStrategy("beta", {"alpha": 2.1, "beta": 1.0}))
    assert not tested.is_of(STRATEGY, None)
