from __future__ import annotations

import math
from dataclasses import replace

import pytest

from search.measurement import Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.results.final_tests import Tested
from trials.results.results import method_results

STRATEGY = GenerationStrategy.maskgit(3)
MEASURED = Measurement(4.0, 0.5, 100, 3, 1.0)
TRAINING = TrainingStrategy("beta", {"alpha": 2.0, "beta": 1.0})


def test_a_test_is_of_a_strategy_up_to_the_last_digits_of_its_values() -> None:
    tested = Tested(STRATEGY, 100, 2, None, {}, [])
    moved = replace(STRATEGY, sampling_temperature=(1.0 + 1e-12, 1.0, 1.0))
    assert tested.is_of(moved, None)
    assert not tested.is_of(replace(STRATEGY, sampling_temperature=(1.01, 1.0, 1.0)), None)
    assert not tested.is_of(replace(STRATEGY, token_order="random"), None)


def test_a_test_is_of_a_training_too() -> None:
    tested = Tested(STRATEGY, 100, 2, TRAINING, {}, [])
    assert tested.is_of(STRATEGY, TrainingStrategy("beta", {"alpha": 2.0 + 1e-12, "beta": 1.0}))
    assert not tested.is_of(STRATEGY, TrainingStrategy("beta", {"alpha": 2.1, "beta": 1.0}))
    assert not tested.is_of(STRATEGY, None)


def test_a_part_of_the_seeds_is_no_final_test() -> None:
    measured = [Measurement(value, 0.5, 100, 3, 1.0) for value in (2.0, 4.0)]
    assert Tested(STRATEGY, 100, 2, None, {1: 2.0}, measured[:1]).final_test() is None
    assert Tested(STRATEGY, 100, 2, None, {1: 2.0, 2: math.nan}, measured[:1]).final_test() is None
    found = Tested(STRATEGY, 100, 2, None, {1: 2.0, 2: 4.0}, measured).final_test()
    assert found is not None
    assert (found.value, found.seeds) == (3.0, (1, 2))


def test_a_test_that_was_cut_off_gives_results_without_a_number(lab: Lab) -> None:
    described = describe("simulated", {}, SimulatedObjective())
    asked = {"test_images": 100, "test_seeds": [1, 2], "optimisers": ["tpe"], "steps": 3}
    shared = described | {"search_name": "s", "search": asked}
    space = Space(STRATEGY)
    own = {"kind": "search", "optimiser": "tpe", "space": space.to_json()}
    searched = Record.create(lab.record_url, "s-tpe", shared | own)
    searched.add(Probe(0, STRATEGY, 100, 7, 0, "start"), MEASURED, space)
    strategies = {"tpe": STRATEGY.to_json()}
    test = Record.create(
        lab.record_url, "s-test", shared | {"kind": "test", "strategies": strategies}
    )
    for seed, seen in ((1, math.nan), (2, 4.0)):
        test.add(Probe(seed - 1, STRATEGY, 100, seed, 0, "tpe"), MEASURED, None)
        result = next(r for r in method_results([searched, test]) if r.method == "tpe")
        assert result.value == pytest.approx(seen, nan_ok=True)
        assert len(result.test_seeds) == (0 if math.isnan(seen) else 2)
