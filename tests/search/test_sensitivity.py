"""Sensitivity, against an objective whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from search.optimiser import Evaluated
from search.sensitivity import MOVE, Sensitivity, sensitivity
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective

SPACE = Space(GenerationStrategy.maskgit(3))
OBJECTIVE = SimulatedObjective()


@pytest.fixture(scope="module")
def evaluated() -> list[Evaluated]:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(90):
        unit = np.clip(
            SPACE.to_unit(SPACE.start_vector) + rng.normal(0, 0.15, len(SPACE.low)), 0, 1
        )
        strategy = SPACE.from_vector(SPACE.from_unit(unit))
        rows.append(Evaluated(strategy, OBJECTIVE.evaluate(strategy, 500, seed).value, seed))
    return rows


@pytest.fixture(scope="module")
def found(evaluated: list[Evaluated]) -> Sensitivity:
    return sensitivity(SPACE, OBJECTIVE.tokens, evaluated, SPACE.start)


def test_it_predicts_what_moves_would_change(found: Sensitivity) -> None:
    expected, true = [], []
    here = OBJECTIVE.truth(SPACE.start, 500)
    for moved in (found.raised, found.lowered):
        for name, changes in moved.items():
            for t, change in enumerate(changes):
                if change is None:
                    continue
                values = list(SPACE.start.schedule(name))
                assert values[t] == change.before
                values[t] = change.after
                there = OBJECTIVE.truth(SPACE.start.with_values({name: values}), 500)
                expected.append(change.change)
                true.append(there - here)
                assert change.low < change.change < change.high
    assert np.corrcoef(expected, true)[0, 1] > 0.9
    assert found.explained > 0.8


def test_a_value_moves_by_a_tenth_of_its_range_and_stays_in_it(found: Sensitivity) -> None:
    bound = SPACE.bounds["remask_temperature"]
    factor = (bound.high / bound.low) ** MOVE
    raised, lowered = (moved["remask_temperature"][0] for moved in (found.raised, found.lowered))
    assert raised is not None
    assert lowered is not None
    assert raised.after == pytest.approx(raised.before * factor)
    assert lowered.after == pytest.approx(lowered.before / factor)
    ratios = [change for change in found.lowered["mask_ratio"] if change is not None]
    assert ratios[0].after >= SPACE.start.mask_ratio[1]


def test_a_value_on_its_bound_moves_one_way_only(evaluated: list[Evaluated]) -> None:
    none = SPACE.start.with_values({"guidance_scale": (0.0, 0.5, 1.0)})
    found = sensitivity(SPACE, OBJECTIVE.tokens, evaluated, none)
    assert found.lowered["guidance_scale"][0] is None
    assert found.raised["guidance_scale"][0] is not None


def test_too_little_says_why(evaluated: list[Evaluated]) -> None:
    with pytest.raises(ValueError, match="needs 20 evaluations with the same n, and there are 9"):
        sensitivity(SPACE, OBJECTIVE.tokens, evaluated[:9], SPACE.start)
    rng = np.random.default_rng(0)
    noise = [Evaluated(strategy, rng.normal(), seed) for strategy, _, seed in evaluated]
    with pytest.raises(ValueError, match="fitted to 90 evaluations explains only .* has not seen"):
        sensitivity(SPACE, OBJECTIVE.tokens, noise, SPACE.start)
