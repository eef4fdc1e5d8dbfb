"""`autonat show NAME` in each state that a search may be in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from search.measurement import Failure
from search.optimiser import Probe
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.cli.printing import lab_flags
from trials.lab import VARIABLES, Lab
from trials.record.hold import hold
from trials.record.record import Record
from trials.results.final_tests import final_tests

Autonat = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(searched: Path, tmp_path: Path) -> Lab:
    """A lab with the finished search "small", and the search "cut" without evaluations."""
    shutil.copytree(searched, tmp_path / "lab")
    lab = Lab.open(tmp_path / "lab")
    settings = Record.open(lab.record_url, "small-tpe").settings | {"search_name": "cut"}
    Record.create(lab.record_url, "cut-tpe", settings)
    return lab


def test_what_a_finished_search_found_and_where_to_go_from_there(
    autonat: Autonat, lab: Lab
) -> None:
    code, out, _ = autonat("show", "small", "--lab", lab.folder)
    lines = out.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert code == 0
    assert lines[0].startswith("small: done after 16 of 16 evaluations, the last at 20")
    test = StrategyFile.read(lab.results("small") / "best.json").test
    assert test is not None
    assert f"best in the final test: random, FID {test.value:.2f} ± " in out.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "best control in the final test: rule of thumb, FID " in out
    assert f"autonat export small best.json --lab {lab.folder}" in out
    assert "--resume" not in out
    told = json.loads(autonat("show", "small", "--lab", lab.folder, "--json")[1])
    assert (told["state"], told["best"]["fid"]) == ("done", test.value)
    # All that is shown as a next step can be done.
    for step in told["next"]:
        if "dashboard" not in step["command"]:
            assert autonat(*step["command"].split()[1:])[0] == 0, step


def test_a_control_of_more_steps_is_not_the_best_method(autonat: Autonat, lab: Lab) -> None:
    words = "--objective simulated --steps 2 --optimisers random --budget 300"
    words += " --images-per-evaluation 100 --test-images 100 --runner local"
    controls = ("--controls", "rule of thumb,twice the steps", "--lab", lab.folder)
    code, _, err = autonat("search", "--name", "more", *words.split(), *controls)
    assert code == 0, err
    tests = final_tests([Record.open(lab.record_url, "more-test")])
    told = json.loads(autonat("show", "more", "--lab", lab.folder, "--json")[1])
    values = {name: sum(t.values.values()) / len(t.values) for name, t in tests.items()}
    assert values["twice the steps"] < values["random"]
    assert told["best"]["method"] == "random"
    assert told["best"]["fid"] == pytest.approx(values["random"])
    assert told["best_control"]["method"] == "rule of thumb"


def test_an_unpublished_one_can_be_published(autonat: Autonat, lab: Lab) -> None:
    shutil.rmtree(lab.results("small"))
    told = json.loads(autonat("show", "small", "--lab", lab.folder, "--json")[1])
    resume = f"autonat search --resume small --lab {lab.folder}"
    assert told["next"][0]["command"] == resume
    assert "strategy files" in told["next"][0]["does"]


def test_one_without_evaluations_can_be_resumed(autonat: Autonat, lab: Lab) -> None:
    code, out, _ = autonat("show", "cut", "--lab", lab.folder)
    assert (code, out.splitlines()[0]) == (0, "cut: interrupted after 0 of 16 evaluations")
    assert [line for line in out.splitlines() if line.startswith("  autonat")] == [
        f"  autonat search --resume cut --lab {lab.folder}"
    ]


@pytest.mark.parametrize("attribute", ["settings", "retried", "driver"])
def test_a_damaged_one_is_named_in_one_line(autonat: Autonat, lab: Lab, attribute: str) -> None:
    study = optuna.load_study(study_name="small-test", storage=lab.record_url)
    good = study.user_attrs.get(attribute)
    study.set_user_attr(attribute, {"search": {}, "search_name": "small", "kind": "test"})
    code, out, err = autonat("show", "small", "--lab", lab.folder)
    study.set_user_attr(attribute, good)
    assert (code, out) == (2, "")
    [line] = [line for line in err.splitlines() if line.startswith("autonat: ")]
    assert line.startswith("autonat: search small: study small-test is damaged")
    assert autonat("show", "small", "--lab", lab.folder)[0] == 0


def test_one_that_failed_says_why(autonat: Autonat, lab: Lab) -> None:
    record = Record.open(lab.record_url, "cut-tpe")
    for number in range(3):
        probe = Probe(number, GenerationStrategy.maskgit(2), 100, number, 0, "sample")
        record.add(probe, Failure("no memory"), None)
    out = autonat("show", "cut", "--lab", lab.folder)[1]
    assert out.startswith("cut: failed after 3 of 16 evaluations")
    assert "cut-tpe: 3 failed with: no memory" in out
    assert f"autonat search --resume cut --lab {lab.folder} --retry-failed" in out
    listed = {e["name"]: e for e in json.loads(autonat("list", "--lab", lab.folder, "--json")[1])}
    assert (listed["cut"]["state"], listed["small"]["state"]) == ("failed", "done")


def test_one_that_runs_is_only_watched(autonat: Autonat, lab: Lab) -> None:
    with hold(lab.record_url, "cut-tpe"):
        out = autonat("show", "cut", "--lab", lab.folder)[1]
    assert out.startswith("cut: running by process ")
    assert "--resume" not in out


def test_the_flags_of_a_lab_name_what_no_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://me:secret@host/record"
    lab = Lab.at(tmp_path / "my lab", url)
    both = ("record_url", "tracking_uri")
    shown = "postgresql://me:***@host/record"
    assert lab_flags(lab) == f" --lab '{tmp_path}/my lab'"
    assert lab_flags(lab, *both) == f" --lab '{tmp_path}/my lab' --record-url '{shown}'"
    monkeypatch.setenv(VARIABLES["record_url"], url)
    assert lab_flags(lab, *both) == f" --lab '{tmp_path}/my lab'"


def test_what_has_no_final_test_is_not_compared(autonat: Autonat, lab: Lab) -> None:
    code, out, err = autonat("compare", "small", "cut", "--lab", lab.folder)
    assert (code, out) == (2, "")
    assert "search cut has no final test yet; autonat show cut says how it stands" in err
