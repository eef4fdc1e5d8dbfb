"""Every method of a search measures the controls first, where that is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.record.record import Record
from trials.record.searches import search_records
from trials.runners.local_runner import run_local
from trials.searches.reading import read_settings
from trials.searches.search_run import SearchRun
from trials.searches.settings import GenerationSearch

METHODS = ["coarse-to-fine", "autonat-reference", "tpe", "cmaes", "random"]


def test_all_methods_measure_the_same_first_and_resume(lab: Lab) -> None:
    values = {"objective": "simulated", "steps": 2, "budget": 1100, "images_per_evaluation": 100}
    more = {"name": "same", "optimisers": METHODS, "controls_first": True, "test_images": 100}
    settings = read_settings(values | more).completed()
    objective = load_objective("simulated", {})

    def searched(resume: bool) -> list[Record]:
        made = SearchRun(settings, objective, lab, resume=resume, listener=lambda _: None)
        run_local(made, objective)
        return search_records(lab.record_url, "same")

    records = searched(resume=False)
    found = {
        record.settings["optimiser"]: [(e.probe.strategy, e.measurement) for e in first]
        for record in records
        if record.settings["kind"] == "search"
        for first in [record.evaluations[:4]]
    }
    assert {*found} == {*METHODS}
    strategies = {name: [strategy for strategy, _ in first] for name, first in found.items()}
    assert all(first == strategies["random"] for first in strategies.values())
    # All share the seed too, but the reference, whose noise is new at every evaluation.
    del found["autonat-reference"]
    fids = [[m and m.value for _, m in first] for first in found.values()]
    assert all(first == fids[0] for first in fids)
    again = searched(resume=True)
    assert [len(record.evaluations) for record in again] == [11, 11, 11, 11, 11, 7 * 3]


def test_searches_made_before_there_was_the_setting_are_the_same_problem() -> None:
    plain = GenerationSearch(controls=["rule of thumb"])
    assert "controls_first" not in plain.problem()
    assert plain.full_name() == "digits-T8-27baf8a8"
    assert GenerationSearch(controls_first=True).problem()["controls_first"] is True


@pytest.mark.parametrize("what", ["training", "joint", "both"])
def test_only_generation_searches_have_controls(what: str) -> None:
    values: dict[str, Any] = {"what": what, "controls_first": True}
    with pytest.raises(ValueError, match=f"controls_first = True does not apply to what = {what}"):
        read_settings(values)
