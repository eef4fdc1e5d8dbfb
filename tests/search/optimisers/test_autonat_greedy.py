"""AutoNAT's greedy search against moves worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from search.bound import Bound
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Probe, TrainingBudget
from search.optimisers.autonat_greedy import AutoNATGreedy
from search.strategy import GenerationStrategy
from search.training_space import TrainingSpace
from search.training_strategy import TrainingStrategy

GENERATION = GenerationStrategy.maskgit(2)
BOUNDS = {"alpha": Bound(1, 16, log=True), "beta": Bound(1, 16, log=True)}
"""A stride of 1/4 doubles or halves a parameter."""
SPACE = TrainingSpace(TrainingStrategy("beta", {"alpha": 4, "beta": 4}), GENERATION, BOUNDS)


def values(probe: Probe) -> tuple[float, float]:
    assert probe.training is not None
    found = probe.training.strategy.values
    return round(found["alpha"], 6), round(found["beta"], 6)


def bowl(alpha: float, beta: float) -> float:
    """Lowest at (8, 2), on a log scale."""
    return 5 + math.log2(alpha / 8) ** 2 + math.log2(beta / 2) ** 2


def result(probe: Probe, fid: float, steps: int | None = None) -> Measurement:
    assert probe.training is not None
    return Measurement(fid, None, 100, 4, 0.0, training_steps=steps or probe.training.steps)


def run(optimiser: AutoNATGreedy) -> list[Probe]:
    asked = []
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        optimiser.tell(probe, result(probe, bowl(*values(probe))))
        asked.append(probe)
    return asked


def test_one_parameter_after_the_other_both_neighbours_at_once() -> None:
    asked = run(AutoNATGreedy(SPACE, TrainingBudget(1000 * 50, 1000, 100), 0))
    assert [(p.role, *values(p)) for p in asked[:9]] == [
        ("start", 4, 4),
        ("alpha+", 8, 4),
        ("alpha-", 2, 4),
        ("alpha+", 16, 4),  # alpha = 8 is kept, and 4 was measured
        ("beta+", 8, 8),
        ("beta-", 8, 2),
        ("beta-", 8, 1),  # beta = 2 is kept
        ("alpha+", 16, 2),
        ("alpha-", 4, 2),
    ]
    assert all(p.strategy == GENERATION for p in asked)
    best = min(asked, key=lambda p: bowl(*values(p)))
    assert values(best) == (8, 2)
    # Then the stride is halved, to 1/8, 1/16, 1/32 and 1/64, and all four neighbours are measured.
    assert values(asked[9]) == (8, round(2 * 2**0.5, 6))
    assert len(asked) == 9 + 4 * 4


def test_neighbours_are_out_together_and_are_waited_for() -> None:
    optimiser = AutoNATGreedy(SPACE, TrainingBudget(1000 * 50, 1000, 100), 0)
    start = optimiser.ask()
    assert isinstance(start, Probe)
    assert optimiser.ask() is WAIT
    optimiser.tell(start, result(start, 9.0))
    up, down = optimiser.ask(), optimiser.ask()
    assert isinstance(up, Probe)
    assert isinstance(down, Probe)
    assert optimiser.ask() is WAIT
    optimiser.tell(down, result(down, 8.0))
    assert optimiser.ask() is WAIT
    optimiser.tell(up, result(up, 10.0))
    further = optimiser.ask()
    assert isinstance(further, Probe)
    assert values(further) == (1, 4)


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_what_failed_or_was_stopped_is_no_better(how: str) -> None:
    optimiser = AutoNATGreedy(SPACE, TrainingBudget(1000 * 50, 1000, 100), 0)
    asked = []
    while len(asked) < 3:
        probe = optimiser.ask()
        assert isinstance(probe, Probe)
        asked.append(probe)
        if probe.role == "start":
            optimiser.tell(probe, result(probe, 9.0))
        elif how == "failed":
            optimiser.tell(probe, Failure("training diverged"))
        else:
            optimiser.tell(probe, result(probe, 1.0, steps=250))
    following = optimiser.ask()
    assert isinstance(following, Probe)
    assert (following.role, *values(following)) == ("beta+", 4, 8)


def test_steps_of_stopped_trainings_pay_for_more() -> None:
    optimiser = AutoNATGreedy(SPACE, TrainingBudget(4 * 1000, 1000, 100), 0)
    count = 0
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        stopped = 250 if probe.role != "start" else None
        optimiser.tell(probe, result(probe, bowl(*values(probe)), steps=stopped))
        count += 1
    assert count == 10  # the start, eight quarters, and one that found a whole one left


def test_a_parameter_at_its_bound_is_not_measured_twice() -> None:
    edge = TrainingSpace(TrainingStrategy("beta", {"alpha": 16, "beta": 4}), GENERATION, BOUNDS)
    asked = run(AutoNATGreedy(edge, TrainingBudget(1000 * 50, 1000, 100), 0))
    assert len({values(p) for p in asked}) == len(asked)


def test_seeds_are_common_or_not() -> None:
    def seeds(common: bool) -> set[int]:
        budget = TrainingBudget(1000 * 6, 1000, 100)
        asked = run(AutoNATGreedy(SPACE, budget, 0, common_random_numbers=common))
        assert all(p.training is not None and p.training.seed == p.seed for p in asked)
        return {p.seed for p in asked}

    assert len(seeds(common=True)) == 1
    assert len(seeds(common=False)) == 6


def test_other_families_and_linear_scales() -> None:
    space = TrainingSpace(
        TrainingStrategy("truncated-normal", {"mean": 0.5, "deviation": 0.3}), GENERATION
    )
    optimiser = AutoNATGreedy(space, TrainingBudget(1000 * 4, 1000, 100), 0, stride=0.1)
    means = []
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        assert probe.training is not None
        means.append(probe.training.strategy.values["mean"])
        optimiser.tell(probe, result(probe, 5.0))
    np.testing.assert_allclose(means[:3], [0.5, 0.6, 0.4])


@pytest.mark.parametrize("stride", [0.0, 1.0, -0.1])
def test_a_stride_that_cannot_be(stride: float) -> None:
    with pytest.raises(ValueError, match=f"stride = {stride} is outside"):
        AutoNATGreedy(SPACE, TrainingBudget(1000, 1000, 100), 0, stride=stride)
