"""The setting `coordinates` of Optuna's samplers, in settings and in a search."""

from __future__ import annotations

from typing import Any

import pytest

from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.record.evaluation import Evaluation
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.searches.reading import read_settings
from trials.searches.search_run import SearchRun
from trials.searches.settings import GenerationSearch


def settings(coordinates: str, **others: Any) -> GenerationSearch:
    own = {"cmaes": {"coordinates": coordinates}}
    return GenerationSearch(optimisers=["cmaes"], workers=2, optimiser_settings=own, **others)


def test_searches_made_before_there_was_the_setting_are_the_same_problem() -> None:
    plain = GenerationSearch(
        optimisers=["cmaes", "coarse-to-fine"], controls=["rule of thumb"], workers=2
    ).completed()
    assert plain.full_name() == "digits-T8-634bb75e"
    said = settings("values").completed().optimiser_settings["cmaes"]
    assert said == {"max_in_flight": 4, "common_random_numbers": True}
    assert settings("coarse").completed().optimiser_settings["cmaes"] == {
        **said,
        "coordinates": "coarse",
    }


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optimiser cmaes: coordinates.*'fine'"):
        read_settings({"optimisers": ["cmaes"], **settings("fine").model_dump()})


def test_a_search_of_coarse_numbers_resumes_by_replay(lab: Lab) -> None:
    values = {"objective": "simulated", "steps": 2, "budget": 1200, "images_per_evaluation": 100}
    more = {"test_images": 100, "controls_first": True, "name": "few"}
    asked = settings("coarse", **values, **more).completed()
    objective = load_objective("simulated", {})

    def searched(resume: bool) -> list[Evaluation]:
        made = SearchRun(asked, objective, lab, resume=resume, listener=lambda _: None)
        run_local(made, objective)
        return list(Record.open(lab.record_url, "few-cmaes").evaluations)

    whole = searched(resume=False)
    assert len(whole) == 12
    assert searched(resume=True) == whole
