"""`autonat delete` and `autonat rename`, of searches that were really made."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from search.strategy_file import StrategyFile
from tests.options import SMALL
from trials.cli import changed_searches as command
from trials.lab import Lab
from trials.publishing import changed_searches
from trials.record.changed_searches import studies_to_change
from trials.record.hold import hold
from trials.record.record import Record
from trials.record.renaming import renaming_of
from trials.record.searches import refuse_taken, search_names
from trials.record.studies import studies_of, study_names
from trials.results.announced import Announced, announced
from trials.tracking.mirror import Mirror

Autonat = Callable[..., tuple[int, str, str]]
RUNS = 28
"""Of the search "small" in MLflow: three studies, and 25 evaluations."""


@pytest.fixture
def lab(searched: Path, tmp_path: Path) -> Lab:
    """A lab with the whole search "small", the search "other", and a study of somebody else."""
    shutil.copytree(searched, tmp_path / "lab")
    lab = Lab.open(tmp_path / "lab")
    settings = Record.open(lab.record_url, "small-tpe").settings | {"search_name": "other"}
    other = Record.create(lab.record_url, "other-tpe", settings)
    Mirror(lab).begin(other)
    lab.make_results("other")
    theirs = optuna.create_study(storage=lab.record_url, study_name="small-theirs")
    theirs.set_user_attr("search", "small")
    return lab


def runs(lab: Lab, kind: int = ViewType.ACTIVE_ONLY) -> dict[str, int]:
    """How many runs MLflow has of each search, by what their names begin with."""
    client = MlflowClient(lab.tracking_uri)
    where = [experiment.experiment_id for experiment in client.search_experiments()]
    names = [r.info.run_name or "" for r in client.search_runs(where, run_view_type=kind)]
    return {
        name: sum(n.startswith(f"{name}-") for n in names) for name in ("small", "other", "new")
    }


def run_names(lab: Lab) -> list[str]:
    """The names of all runs in MLflow, sorted."""
    client = MlflowClient(lab.tracking_uri)
    where = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(run.info.run_name or "" for run in client.search_runs(where))


def rows(lab: Lab) -> dict[str, int]:
    """The rows of each table of the record."""
    engine = sqlalchemy.create_engine(lab.record_url)
    with engine.connect() as connection:
        return {
            table: connection.exec_driver_sql(f"select count(*) from {table}").scalar() or 0
            for table in sqlalchemy.inspect(engine).get_table_names()
        }


def without(lab: Lab, names: list[str], copy: Path) -> dict[str, int]:
    """The rows of the record, had these studies been deleted by Optuna itself."""
    shutil.copytree(lab.folder, copy)
    for name in names:
        optuna.delete_study(study_name=name, storage=Lab.at(copy).record_url)
    return rows(Lab.at(copy))


def test_a_deleted_search_is_gone_and_others_stay(
    autonat: Autonat, lab: Lab, tmp_path: Path
) -> None:
    expected = without(lab, ["small-random", "small-tpe", "small-test"], tmp_path / "optuna")
    (lab.optuna_artifacts / "of another").touch()
    assert autonat("delete", "small", "--yes", "--lab", lab.folder)[:2] == (0, "deleted small\n")
    assert study_names(lab.record_url) == ["other-tpe"]
    assert rows(lab) == expected
    assert [path.name for path in (lab.folder / "results").iterdir()] == ["other"]
    assert [path.name for path in lab.optuna_artifacts.iterdir()] == ["of another"]
    assert runs(lab) == {"small": 0, "other": 1, "new": 0}
    assert runs(lab, ViewType.DELETED_ONLY) == {"small": RUNS, "other": 0, "new": 0}
    for words in (["show", "small"], ["delete", "small", "--yes"]):
        code, _, err = autonat(*words, "--lab", lab.folder)
        assert code == 2
        assert "no search 'small' in " in err
        assert err.rstrip().endswith("known: other")
    refuse_taken(lab.record_url, "small", ["tpe"])  # the name is free again


def test_a_renamed_search_is_the_same_under_its_new_name(autonat: Autonat, lab: Lab) -> None:
    before = {e.number: e for e in Record.open(lab.record_url, "small-tpe").evaluations}
    listed = json.loads(autonat("list", "--lab", lab.folder, "--json")[1])
    code, out, err = autonat("rename", "small", "new", "--yes", "--lab", lab.folder)
    assert (code, out) == (0, "renamed small to new\n")
    assert f"autonat report new --lab {lab.folder}" in err
    now = json.loads(autonat("list", "--lab", lab.folder, "--json")[1])
    renamed = [{**one, "name": one["name"].replace("small", "new")} for one in listed]
    assert sorted(now, key=str) == sorted(renamed, key=str)
    assert {e.number: e for e in Record.open(lab.record_url, "new-tpe").evaluations} == before
    assert renaming_of(lab.record_url, "new") is None
    assert sorted(path.name for path in (lab.folder / "results").iterdir()) == ["new", "other"]
    file = StrategyFile.read(lab.results("new") / "best.json")
    assert file.search is not None
    assert file.search["study"] == "new-random"
    assert runs(lab) == {"small": 0, "other": 1, "new": RUNS}
    # MLflow still is the mirror of it, and it can be resumed, which here only shows it.
    assert Mirror(lab).sync(Record.open(lab.record_url, "new-tpe")) == 0
    code, out, err = autonat("search", "--resume", "new", "--lab", lab.folder, "--json")
    assert (code, json.loads(out)["name"]) == (0, "new")
    assert "nothing is left to do" in err
    assert "no search 'small' in " in autonat("show", "small", "--lab", lab.folder)[2]


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (changed_searches, "_move_results"),
        (MlflowClient, "log_batch"),  # an evaluation has its new name then, and its old tags
        (changed_searches, "end_renaming"),
    ],
)
def test_a_renaming_that_is_cut_off_is_finished_by_the_same_command(
    owner: object, step: str, autonat: Autonat, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(name.replace("small", "new") for name in run_names(lab))
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, cut_off)
        code, _, err = autonat("rename", "small", "new", "--yes", "--lab", lab.folder)
        assert (code, err.splitlines()[-1]) == (130, "interrupted; the same command continues")
    assert search_names(lab.record_url) == ["new", "other"]
    line = f"autonat rename small new --lab {lab.folder}"
    assert line in autonat("show", "new", "--lab", lab.folder)[1]
    # Until then, nothing else uses either name.
    for other in (
        *("search --resume new", "report new", "delete new --yes", "rename new newer --yes"),
        *("rename other small --yes", shlex.join(("search", *SMALL))),
    ):
        code, _, err = autonat(*shlex.split(other), "--lab", lab.folder)
        assert (code, "autonat rename small new finishes it" in err) == (2, True), (other, err)
    code, out, err = autonat("rename", "small", "new", "--lab", lab.folder)
    assert (code, out) == (0, "renamed small to new\n"), err
    assert (lab.results("new") / "best.json").exists()
    assert not lab.results("small").exists()
    assert run_names(lab) == names
    assert line not in autonat("show", "new", "--lab", lab.folder)[1]


@pytest.mark.parametrize("step", ["_remove", "delete_studies"])
def test_a_deletion_that_is_cut_off_is_finished_by_the_same_command(
    step: str, autonat: Autonat, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(changed_searches, step, cut_off)
        assert autonat("delete", "small", "--yes", "--lab", lab.folder)[0] == 130
    assert search_names(lab.record_url) == ["other", "small"]
    assert len(Record.open(lab.record_url, "small-tpe").evaluations) == 8
    assert autonat("delete", "small", "--yes", "--lab", lab.folder)[0] == 0
    assert search_names(lab.record_url) == ["other"]
    assert runs(lab) == {"small": 0, "other": 1, "new": 0}


def cut_off(*_: Any, tags: Any = (), **__: Any) -> None:
    """Interrupt the command; of the calls that write tags, the first of an evaluation."""
    if not tags or any(tag.key == "study" for tag in tags):
        raise KeyboardInterrupt


REFUSED = {
    "delete small": "expected --yes, because there is no terminal to ask on",
    "rename small new": "expected --yes, because there is no terminal to ask on",
    "delete nix --yes": "no search 'nix' in ",
    "rename nix new --yes": "no search 'nix' in ",
    "rename nix other --yes": "no search 'nix' in ",
    "delete ../lab --yes": "'../lab' is not a valid name of a search",
    "rename small ../x --yes": "name = '../x' is not a valid name of a search",
    "rename small small --yes": "expected another name than small, got the same",
    "rename small other --yes": "search other exists already; choose another name",
    "rename small taken --yes": "exists already; move it, or choose another name",
    "rename other small-theirs --yes --lab nowhere": "no such folder",
}


def test_what_is_refused_changes_nothing(autonat: Autonat, lab: Lab) -> None:
    (lab.folder / "results" / "taken").mkdir()
    before = studies_of(lab.record_url), rows(lab), runs(lab)
    for words, line in REFUSED.items():
        given = words.split() if "--lab" in words else [*words.split(), "--lab", lab.folder]
        code, out, err = autonat(*given)
        assert (code, out) == (2, ""), words
        assert line in err, words
    assert (studies_of(lab.record_url), rows(lab), runs(lab)) == before


@pytest.mark.parametrize(
    "words",
    ["delete small --yes", "rename small new --yes", "search --resume small --retry-failed"],
)
def test_one_that_runs_is_left_alone(words: str, autonat: Autonat, lab: Lab) -> None:
    with hold(lab.record_url, "small-tpe"):
        code, _, err = autonat(*words.split(), "--lab", lab.folder)
    assert code == 2
    assert "search small has been running in process " in err
    assert search_names(lab.record_url) == ["other", "small"]


@pytest.mark.parametrize(
    "words", ["delete small --yes", "rename small new --yes", "rename other small2 --yes"]
)
def test_one_that_is_being_prepared_is_left_alone(words: str, autonat: Autonat, lab: Lab) -> None:
    """As it is when it is resumed, or when another one takes the new name."""
    name = "small2" if "small2" in words else "small"
    with announced(lab, Announced(name, "digits", "generation", 2, ("tpe",), 8)):
        code, _, err = autonat(*words.split(), "--lab", lab.folder)
    assert code == 2
    assert f"search {name} has been in preparation in process " in err
    assert search_names(lab.record_url) == ["other", "small"]


@pytest.mark.parametrize("words", ["delete small", "rename small new"])
def test_one_that_changed_while_it_was_asked_about_stays(
    words: str, autonat: Autonat, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process resumed it meanwhile, which made a study."""
    settings = Record.open(lab.record_url, "small-tpe").settings

    def answer(*_: Any) -> None:
        Record.create(lab.record_url, "small-cmaes", settings | {"optimiser": "cmaes"})

    monkeypatch.setattr(command, "_ask", answer)
    code, _, err = autonat(*words.split(), "--lab", lab.folder)
    assert code == 2
    assert "search small has changed meanwhile: expected 3 studies, got 4" in err
    assert search_names(lab.record_url) == ["other", "small"]
    assert lab.results("small").exists()


def test_a_store_that_does_not_answer_keeps_the_record(autonat: Autonat, lab: Lab) -> None:
    away = ["--tracking-uri", "http://127.0.0.1:9", "--yes", "--lab", lab.folder]
    code, _, err = autonat("delete", "small", *away)
    assert code == 2
    assert "tracking http://127.0.0.1:9: " in err
    assert search_names(lab.record_url) == ["other", "small"]


def test_an_alternation_is_changed_with_its_rounds(autonat: Autonat, lab: Lab) -> None:
    settings = Record.open(lab.record_url, "small-tpe").settings
    search = settings["search"]
    whole = {"kind": "alternation", "search_name": "whole", "search": search}
    Record.create(lab.record_url, "whole-alternation", whole)
    half = settings | {
        "search_name": "whole-r1-generation",
        "search": search | {"alternation": "whole"},
    }
    Record.create(lab.record_url, "whole-r1-generation-random", half)
    for name in ("whole", "whole-r1-generation"):
        lab.make_results(name)
    line = "is half a round of the alternation whole"
    for words in (["delete", "whole-r1-generation"], ["rename", "whole-r1-generation", "x"]):
        code, _, err = autonat(*words, "--yes", "--lab", lab.folder)
        assert (code, line in err) == (2, True)
    asked = search | {"learn_from": ["whole-r1-generation"]}
    Record.create(
        lab.record_url, "later-random", settings | {"search_name": "later", "search": asked}
    )
    for words in (["delete", "whole"], ["rename", "whole", "all"]):
        code, _, err = autonat(*words, "--yes", "--lab", lab.folder)
        assert (code, "search later, which is not finished, learns from" in err) == (2, True)
    optuna.delete_study(study_name="later-random", storage=lab.record_url)
    assert autonat("rename", "whole", "all", "--yes", "--lab", lab.folder)[0] == 0
    assert {"all-alternation", "all-r1-generation-random"} < {*study_names(lab.record_url)}
    now = Record.open(lab.record_url, "all-r1-generation-random").settings
    assert (now["search_name"], now["search"]["alternation"]) == ("all-r1-generation", "all")
    assert studies_of(lab.record_url)["all-r1-generation-random"].alternation == "all"
    assert len(studies_to_change(lab.record_url, "all").studies) == 2
    assert autonat("delete", "all", "--yes", "--lab", lab.folder)[0] == 0
    assert search_names(lab.record_url) == ["other", "small"]
    assert sorted(path.name for path in (lab.folder / "results").iterdir()) == ["other", "small"]
