"""What every objective must do, run on each of ours."""

from __future__ import annotations

import dataclasses
import json
import pickle
import statistics

import pytest

from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS
from trials.objectives.objective import Grows, Objective, describe
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.tabulated import TabulatedObjective

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


def test_same_strategy_n_and_seed_same_number(objective: Objective) -> None:
    first, second = (objective.evaluate(FOUR, 130, 7) for _ in range(2))
    assert first.value == second.value
    assert objective.evaluate(FOUR, 130, 8).value != first.value
    assert objective.evaluate(FOUR, 140, 7).value != first.value


def test_what_it_measured_in_between_changes_nothing(objective: Objective) -> None:
    before = objective.evaluate(FOUR, 130, 7).value
    objective.evaluate(dataclasses.replace(FOUR, guidance_scale=(0.0,) * 4), 90, 1)
    assert objective.evaluate(FOUR, 130, 7).value == before


def test_the_measurement_says_what_it_cost(objective: Objective) -> None:
    unguided = dataclasses.replace(FOUR, guidance_scale=(0.0, 0.0, 0.0, 1.0))
    measured = objective.evaluate(unguided, 130, 7)
    assert measured.images == 130
    assert measured.forward_passes == 5
    assert measured.seconds > 0
    assert measured.finite


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


def test_a_copy_sent_to_a_worker_measures_the_same(objective: Objective) -> None:
    copy: Objective = pickle.loads(pickle.dumps(objective))
    assert copy.evaluate(FOUR, 130, 7).value == objective.evaluate(FOUR, 130, 7).value


def test_its_description_is_json_with_every_field(objective: Objective) -> None:
    described = describe("name", {}, objective)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert tuple(described["protocol"]) == PROTOCOL_FIELDS
    assert described["objective"]["tokens"] == objective.tokens


def test_growing_measures_what_evaluate_does(objective: Objective) -> None:
    assert isinstance(objective, Grows)
    *first, last = objective.evaluate_growing(FOUR, (80, 130, 260), 7)
    assert [measured.images for measured in first] == [80, 130]
    # In other groups, so summed in another order.
    assert first[1].value == pytest.approx(objective.evaluate(FOUR, 130, 7).value, rel=1e-6)
    assert last.value == pytest.approx(objective.evaluate(FOUR, 260, 7).value, rel=1e-6)


def test_its_standard_error_is_that_of_replicates(objective: Objective) -> None:
    found = [objective.evaluate(FOUR, 130, seed) for seed in range(24)]
    fids = [measured.value for measured in found]
    stated = [m.standard_error for m in found if m.standard_error is not None]
    assert len(stated) == len(found)
    # 24 seeds know their spread to 15 %.
    assert sum(stated) / len(stated) == pytest.approx(statistics.stdev(fids), rel=0.5)
