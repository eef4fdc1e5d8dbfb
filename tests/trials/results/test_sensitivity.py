"""How sensitive a winner is, read off the records of its search."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from search.measurement import Measurement
from search.optimiser import Probe
from search.sensitivity import Sensitivity
from search.space import Space
from search.strategy import GenerationStrategy
from tests.dashboards.conftest import compared
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.results.results import MethodResult
from trials.results.sensitivity import winners_sensitivity

SPACE = Space(GenerationStrategy.maskgit(2))
WINNER = dataclasses.replace(compared({"tpe": 4.0}, steps=2)[0], strategy=SPACE.start)
CONTROLS = compared({}, steps=2)


def recorded(lab: Lab, method: str, count: int, what: str = "generation") -> Record:
    """A study of random strategies, of which every tenth has another n."""
    settings: dict[str, Any] = {
        "optimiser": method,
        "search": {"what": what},
        "space": SPACE.to_json(),
        "objective": {"tokens": 64},
    }
    record = Record.create(lab.record_url, method, settings)
    rng, objective = np.random.default_rng(len(method)), SimulatedObjective()
    for number in range(count):
        strategy = SPACE.from_vector(SPACE.from_unit(rng.uniform(size=len(SPACE.low))))
        value = objective.evaluate(strategy, 400, number).value
        images = 100 if number % 10 == 9 else 400
        probe = Probe(number, strategy, images, 2**31 + number, number, "sample")
        record.add(probe, Measurement(value, None, images, 4, 0.1), SPACE)
    return record


def found(searches: list[Record], results: list[MethodResult]) -> Sensitivity:
    known = winners_sensitivity(searches, results)
    assert isinstance(known, Sensitivity)
    return known


def test_the_evaluations_of_all_methods_are_used(lab: Lab) -> None:
    searches = [recorded(lab, "tpe", 15), recorded(lab, "cmaes", 15)]
    known = found(searches, [WINNER, *CONTROLS])
    assert known.evaluations == 28  # those of the commonest n
    assert known.raised.keys() == set(SPACE.free)


def test_evaluations_that_were_stopped_early_do_not_count(lab: Lab) -> None:
    """They are the bad ones, and may be the most."""
    record = recorded(lab, "tpe", 30)
    for number in range(30, 90):
        probe = Probe(number, SPACE.start, 400, 2**31 + number, number, "sample")
        record.add(probe, Measurement(50.0, None, 100, 4, 0.1), SPACE)
    assert found([record], [WINNER, *CONTROLS]).evaluations == 27


def test_optunas_importance_is_of_the_evaluations_that_count(lab: Lab) -> None:
    record = recorded(lab, "tpe", 20)
    expected = record.importance()
    record.supersede(record.evaluations[:5])
    fewer = record.importance()
    assert fewer != expected
    other = Record.create(lab.record_url, "other", record.settings)
    for evaluation in record.evaluations:
        other.add(evaluation.probe, evaluation.result, SPACE)
    assert fewer == other.importance()


def test_what_several_methods_measured_alike_counts_once(lab: Lab) -> None:
    """A copy would be predicted from the other, and the model seem better than it is."""
    searches = [recorded(lab, "tpe", 20), recorded(lab, "two", 20)]
    with pytest.raises(ValueError, match="needs 20 evaluations with the same n, and there are 18"):
        winners_sensitivity(searches, [WINNER, *CONTROLS])


def test_a_search_that_trained_models_has_optunas_importance(lab: Lab) -> None:
    importance = winners_sensitivity([recorded(lab, "tpe", 20, "training")], [WINNER, *CONTROLS])
    assert not isinstance(importance, Sensitivity)
    assert sum(importance.values()) == pytest.approx(1)
    assert importance.keys() == set(SPACE.names)


def test_too_little_is_said(lab: Lab) -> None:
    record = recorded(lab, "tpe", 1, "training")
    with pytest.raises(ValueError, match="importance needs 10 evaluations, and there are 1"):
        winners_sensitivity([record], [WINNER])
    with pytest.raises(ValueError, match="no search has a final test"):
        winners_sensitivity([record], CONTROLS)
