"""Series of searches, one for each T, and searches that name those from which they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.record.changed_searches import end_renaming, rename_studies, studies_to_change
from trials.record.place import note_place
from trials.record.record import Record
from trials.record.searches import members_of
from trials.record.studies import study_names
from trials.runners.local_runner import run_local
from trials.searches.earlier_searches import earlier_searches
from trials.searches.reading import read_settings
from trials.searches.search_run import SearchRun
from trials.searches.series import read_searches, resumed_searches
from trials.searches.settings import USUAL, GenerationSearch, SearchSettings

VALUES: dict[str, Any] = {
    "objective": "simulated",
    "budget": 900,
    "images_per_evaluation": 100,
    "test_images": 100,
    "test_seeds": [1],
    "runner": "local",
}


def read(**more: Any) -> list[SearchSettings]:
    return read_searches(VALUES | more)


def run(settings: SearchSettings, lab: Lab, tests: bool = True) -> SearchRun:
    settings = settings.completed()
    objective = load_objective("simulated", settings.objective_settings)
    made = SearchRun(settings, objective, lab, resume=True, listener=lambda _: None)
    for source in [made] if tests else made.studies:
        run_local(source, objective)
    return made


def test_the_searches_of_a_series_name_those_before() -> None:
    searches = read(steps=[8, 2, 4], name="mine", learn_from=["another"])
    assert [s.name for s in searches] == ["mine-T2", "mine-T4", "mine-T8"]
    assert [s.steps for s in searches] == [2, 4, 8]
    learnt = [s.learns_from for s in searches]
    assert learnt == [["another"], ["another", "mine-T2"], ["another", "mine-T2", "mine-T4"]]
    derived = [s.full_name() for s in read(steps=[2, 4])]
    assert derived[0].startswith("simulated-T2-4-")
    assert derived == [s.full_name() for s in read(steps=[4, 2])]
    assert derived != [s.full_name() for s in read(steps=[2, 4], seed=1)]
    (alone,) = read(steps=4)
    assert isinstance(alone, GenerationSearch)
    assert alone.series is None


def test_searches_made_before_there_were_series_are_the_same_problem() -> None:
    assert not {"learn_from", "series"} & GenerationSearch().problem().keys()


def test_a_series_is_resumed_by_its_name(lab: Lab) -> None:
    first, second, _ = read(steps=[2, 4, 8], name="mine", lab=lab.folder)
    run(first, lab)
    run(second, lab, tests=False)
    assert members_of(lab.record_url, "mine") == ["mine-T2", "mine-T4"]
    given = {"lab": lab.folder, "runner": "local"}
    resumed = resumed_searches("mine", given, None)
    wanted = [s.completed() for s in read(steps=[2, 4, 8], name="mine", lab=lab.folder)]
    assert [s.completed().problem() for s in resumed] == [s.problem() for s in wanted]
    assert [s.full_name() for s in resumed] == ["mine-T2", "mine-T4", "mine-T8"]
    assert {s.lab for s in resumed} == {lab.folder}
    for settings in resumed[1:]:
        assert run(settings, lab).finished
    records = [Record.open(lab.record_url, f"mine-T{t}-coarse-to-fine") for t in (2, 4, 8)]
    assert [len(record.evaluations) for record in records] == [9, 9, 9]
    assert len(resumed_searches("mine-T4", given, None)) == 1
    assert resumed_searches("mine", given | {"steps": [8, 4, 2]}, None) == resumed
    file = lab.folder / "study.yaml"
    file.write_text("objective: simulated\nsteps: [2, 4, 8]\nbudget: 900\nname: mine\n")
    assert resumed_searches("mine", given, file) == resumed
    with pytest.raises(ValueError, match=r"series mine was made with steps = 2,4,8, not \[2, 4\]"):
        resumed_searches("mine", given | {"steps": [2, 4]}, None)
    with pytest.raises(ValueError, match="search mine-T2 was made with budget = 900, not 1000"):
        resumed_searches("mine", given | {"budget": 1000}, None)
    later, *_ = read(steps=[3, 5], name="later", lab=lab.folder, learn_from=["mine-T4"])
    run(later, lab)
    taught = given | {"learn_from": ["mine-T4"]}
    assert resumed_searches("later", taught, None) == resumed_searches("later", given, None)
    with pytest.raises(ValueError, match="series later was made with learn_from = mine-T4, not"):
        resumed_searches("later", given | {"learn_from": ["mine-T8"]}, None)


def test_a_series_goes_on_where_it_last_ran(lab: Lab) -> None:
    two, four, _ = read(steps=[2, 4, 8], name="mine", lab=lab.folder)
    run(two, lab)
    run(four, lab)
    note_place(lab.record_url, "mine-T2-coarse-to-fine", {})
    place = {"runner": "local", "workers": 7, "gpus_per_trial": 1.0}
    note_place(lab.record_url, "mine-T4-coarse-to-fine", place)
    resumed = resumed_searches("mine", {"lab": lab.folder}, None)
    assert [settings.place() for settings in resumed] == [{}, place, place]


def test_a_search_that_is_still_needed_is_neither_deleted_nor_renamed(lab: Lab) -> None:
    first, second = read(steps=[2, 4], name="mine", lab=lab.folder)
    run(first, lab)
    run(second, lab, tests=False)
    url = lab.record_url
    with pytest.raises(ValueError, match="search mine-T4, which is not finished, learns from sea"):
        studies_to_change(url, "mine-T2")
    run(second, lab)
    studies = studies_to_change(url, "mine-T2")
    rename_studies(url, studies, "other")
    end_renaming(url, studies.renamed("other"))
    assert members_of(url, "mine") == ["mine-T4"]  # it has left its series
    (alone,) = resumed_searches("other", {"lab": lab.folder}, None)
    assert (alone.name, alone.steps) == ("other", 2)
    assert run(alone, lab).finished


def test_methods_of_a_search_teach_together(lab: Lab) -> None:
    methods = {"optimisers": ["coarse-to-fine", "random"], "controls_first": True}
    (taught,) = read(steps=4, name="later", lab=lab.folder, learn_from=["first"])
    run(read(steps=2, name="first", lab=lab.folder, **methods)[0], lab)
    (earlier,) = earlier_searches(lab.record_url, taught)
    assert len(earlier.evaluations) == 18
    assert earlier.space.start.steps == earlier.best.steps == 2
    assert run(taught, lab).finished


def test_bad_input(lab: Lab) -> None:
    with pytest.raises(ValueError, match="steps: 4 is named twice"):
        read(steps=[4, 4])
    with pytest.raises(ValueError, match=r"steps: expected a whole number, or at .*, got \[4\]"):
        read(steps=[4])
    with pytest.raises(ValueError, match=r"steps: expected .* two for a series, got \[2, 'x'\]"):
        read(steps=[2, "x"])
    with pytest.raises(ValueError, match="steps: expected a number above 0"):
        read(steps=[0, 2])
    with pytest.raises(ValueError, match=r"steps: expected one T, got \[2, 4\]; `autonat search`"):
        read_settings(VALUES | {"steps": [2, 4]})
    with pytest.raises(ValueError, match="steps = 2,4: expected one T with what = joint"):
        read(steps=[2, 4], what="joint", budget=USUAL["budget"])
    with pytest.raises(ValueError, match="optimiser tpe does not learn from earlier searches"):
        read(steps=[2, 4], optimisers=["coarse-to-fine", "tpe"])
    with pytest.raises(ValueError, match="learn_from: 'a' is named twice"):
        read(steps=2, learn_from=["a", "a"])
    with pytest.raises(ValueError, match=r"learn_from = \['a'\] does not apply to what = training"):
        read(steps=2, learn_from=["a"], what="training")


@pytest.mark.parametrize(
    ("taught", "line"),
    [
        ({"learn_from": ["none"]}, "no search 'none' in .*; known: done, half, odd"),
        ({"learn_from": ["half"]}, "search half is not finished; autonat search --resume half con"),
        ({"bounds": {"guidance_scale": {"low": 0, "high": 2}}}, "search done .*: it has bounds.g"),
        ({"start": "more remask noise"}, "search done cannot .* it has start = "),
        ({"frozen": ["mask_ratio"]}, r"search done cannot teach .*: it has frozen = \[\], not \["),
        (
            {"objective_settings": {"noise": 2.0}},
            "search done did not measure the same: it has objective.settings.noise = None, not 2",
        ),
        ({"learn_from": ["odd"]}, "got start of them"),
    ],
)
def test_searches_that_cannot_teach(taught: dict[str, Any], line: str, teachers: Path) -> None:
    lab = Lab.open(teachers)
    (settings,) = read(
        **{"steps": 4, "name": "later", "lab": teachers, "learn_from": ["done"]} | taught
    )
    with pytest.raises(ValueError, match=line):
        run(settings, lab)
    assert "later-coarse-to-fine" not in study_names(lab.record_url)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = Lab.open(tmp_path_factory.mktemp("teachers"))
    run(read(steps=2, name="done", lab=lab.folder)[0], lab)
    run(read(steps=2, name="half", lab=lab.folder)[0], lab, tests=False)
    run(read(steps=2, name="odd", lab=lab.folder, optimisers=["random"])[0], lab)
    return lab.folder
