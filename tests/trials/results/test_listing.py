from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.command_line import run_in
from trials.lab import Lab
from trials.record.driver import ATTRIBUTE, Driver
from trials.record.record import Record
from trials.record.searches import search_records
from trials.results.listing import searches
from trials.results.results import method_results
from trials.results.state import state_of

Autonat = Callable[..., tuple[int, str, str]]
WORDS = """
    --objective simulated --runner local --steps 4 --budget 400 --images 100 --workers 1
    --optimiser random --optimiser qmc --test-images 100 --test-seeds 1,2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with the search "done"."""
    folder = tmp_path_factory.mktemp("made")
    run_in(folder, "search", *WORDS.split(), "--name", "done")
    return folder / "autonat-lab"


@pytest.fixture
def searched(made: Path, lab: Lab) -> Lab:
    """A lab with the search "done", and the study of somebody else in its record."""
    shutil.copytree(made, lab.folder, dirs_exist_ok=True)
    optuna.create_study(storage=lab.record_url, study_name="theirs").set_user_attr("format", 3)
    return lab


def test_a_search_is_listed_as_its_record_has_it(searched: Lab, autonat: Autonat) -> None:
    records = search_records(searched.record_url, "done")
    results = [result for result in method_results(records) if result.searched]
    code, out, _ = autonat("list", "--lab", searched.folder, "--json")
    [told] = json.loads(out)
    assert code == 0
    assert told.pop("fid") == pytest.approx(min(result.value for result in results), rel=1e-12)
    last = max(e.finished for record in records for e in record.evaluations)
    assert told.pop("last") == last.isoformat(" ", "seconds")
    lowest = min(r.evaluations["fid"].min() for r in results)
    assert told.pop("lowest_fid") == pytest.approx(lowest, rel=1e-12)
    assert told == {
        "name": "done",
        "objective": "simulated",
        "what": "generation",
        "steps": 4,
        "methods": ["random", "qmc"],
        "evaluations": 8,
        "failed": 0,
        "budgeted": 8,
        "state": "done",
        "alternation": None,
        "metric": "fid",
        "test_metric": "fid",
    }
    table = autonat("list", "--lab", searched.folder)[1]
    assert "random, qmc" in table
    assert "8 of 8" in table


def test_a_long_name_is_never_cut(autonat: Autonat, searched: Lab) -> None:
    settings = Record.open(searched.record_url, "done-random").settings
    settings["search_name"] = name = "a-search-with-a-name-that-is-long-" * 2
    Record.create(searched.record_url, f"{name}-random", settings)
    assert f" {name} " in autonat("list", "--lab", searched.folder)[1]


def test_what_is_superseded_counts_for_nothing(searched: Lab, autonat: Autonat) -> None:
    [before] = searches(searched)
    assert before.lowest_value is not None
    for suffix in ("random", "qmc"):
        record = Record.open(searched.record_url, f"done-{suffix}")
        lowest = [e for e in record.evaluations if e.result.value == before.lowest_value]  # type: ignore[union-attr]
        record.supersede(lowest)
    test = Record.open(searched.record_url, "done-test")
    [tested, *_] = test.evaluations
    test.supersede([tested])
    assert [found.state for found in searches(searched)] == ["interrupted"]
    test.add(tested.probe, tested.result, None)
    [after] = searches(searched)
    told = json.loads(autonat("show", "done", "--lab", searched.folder, "--json")[1])["studies"]
    of = [study for study in told if study["study"] != "done-test"]
    assert after.evaluations == sum(study["evaluations"] for study in of) == 6
    assert after.lowest_value == pytest.approx(min(study["best_fid"] for study in of), rel=1e-12)
    assert (after.state, after.value) == ("done", pytest.approx(before.value, rel=1e-12))
    test.reopen()
    [reopened] = searches(searched)
    assert (reopened.state, reopened.value) == ("interrupted", None)
    state = state_of(searched, "done")
    assert (state.best, state.best_control) == (None, None)


def test_one_that_is_run_or_was_interrupted(searched: Lab) -> None:
    settings = Record.open(searched.record_url, "done-random").settings
    settings["search_name"] = "cut"
    Record.create(searched.record_url, "cut-random", settings)

    def state() -> dict[str, str]:
        return {found.name: found.state for found in searches(searched)}

    assert state() == {"done": "done", "cut": "interrupted"}
    study = optuna.load_study(study_name="cut-random", storage=searched.record_url)
    driver = Driver(socket.gethostname(), os.getpid(), "now", time.time(), "token")
    study.set_user_attr(ATTRIBUTE, asdict(driver))
    assert state() == {"done": "done", "cut": "running"}
    study.set_user_attr(ATTRIBUTE, None)
    assert state() == {"done": "done", "cut": "interrupted"}


def test_an_alternation_is_the_sum_of_its_halves(searched: Lab) -> None:
    settings: dict[str, Any] = Record.open(searched.record_url, "done-random").settings
    search = settings["search"] | {"alternation": "whole"}
    Record.create(
        searched.record_url,
        "whole-r1-generation-random",
        settings | {"search_name": "whole-r1-generation", "search": search},
    )
    more = {"what": "both", "rounds": 2, "training_optimiser": "autonat-greedy"}
    whole = {"kind": "alternation", "search_name": "whole", "search": settings["search"] | more}
    Record.create(searched.record_url, "whole-alternation", whole)
    found = {one.name: one for one in searches(searched)}
    assert found["whole"].methods == ("autonat-greedy", "random", "qmc")
    assert found["whole"].budgeted == 2 * (4 + 12)
    assert found["whole"].state == "interrupted"
    (searched.folder / "results" / "whole").mkdir(parents=True)
    (searched.folder / "results" / "whole" / "best.json").touch()
    assert {one.name: one.state for one in searches(searched)}["whole"] == "done"


def test_a_lab_without_searches(autonat: Autonat, tmp_path: Path) -> None:
    lab = tmp_path / "empty"
    code, out, err = autonat("list", "--lab", lab)
    assert (code, out) == (2, "")
    assert err == f"autonat: lab {lab}: no such folder; autonat search creates one\n"
    lab.mkdir()
    assert autonat("list", "--lab", lab, "--json") == (0, "[]\n", "")
    assert (
        autonat("list", "--lab", lab)[2] == f"no searches yet in {lab}; autonat search starts one\n"
    )
    assert not (tmp_path / "empty" / "record.db").exists()


def test_an_address_that_is_none_is_one_line(autonat: Autonat) -> None:
    code, out, err = autonat("list", "--record-url", "nonsense")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("autonat: record nonsense: ")


def test_a_record_that_cannot_be_read_is_one_line(autonat: Autonat, lab: Lab) -> None:
    (lab.folder / "record.db").write_text("this is no database")
    code, out, err = autonat("list", "--lab", lab.folder)
    assert (code, out) == (2, "")
    assert err == f"autonat: record {lab.record_url}: file is not a database\n"
