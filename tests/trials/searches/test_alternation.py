"""Rounds of training and generation searches, on a small network and real digits."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from autonat import load
from search.strategy_file import StrategyFile
from tests.command_line import run_in
from tests.options import laid_over
from trials.lab import Lab
from trials.objectives.digits import DigitsObjective
from trials.publishing import comparing
from trials.record.hold import hold
from trials.record.record import Record
from trials.record.searches import search_records
from trials.record.studies import study_names
from trials.results.comparison import compared
from trials.results.results import method_results
from trials.searches import alternation
from trials.tracking.mirror import ALTERNATION_TAG

Autonat = Callable[..., tuple[int, str, str]]
BOTH = (
    *("search", "--what", "both", "--name", "a", "--runner", "local", "--rounds", "2"),
    *("--set", "width=8", "--set", "depth=0", "--steps", "2"),
    *("--training-steps", "20", "--training-budget", "80"),
    *("--images", "100", "--budget", "900", "--test-images", "100"),
)


def fids(lab: Path) -> dict[str, list[float]]:
    """Of every evaluation, by study."""
    url = Lab.open(lab).record_url
    return {
        name: [e.measurement.value for e in Record.open(url, name).evaluations if e.measurement]
        for name in study_names(url)
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab of an alternation that ran to its end."""
    lab = tmp_path_factory.mktemp("whole") / "lab"
    run_in(lab.parent, *BOTH, "--lab", str(lab))
    return lab


def test_rounds_are_searches_that_start_where_the_last_one_ended(
    autonat: Autonat, whole: Path
) -> None:
    code, out, _ = autonat("search", "--resume", "a", "--lab", whole, "--json")
    assert code == 0
    results = {r["method"]: r for r in json.loads(out)["results"]}
    assert list(results) == ["before", "round 1", "round 2"]
    assert results["before"]["training"] == {
        "mask_ratio_distribution": "beta",
        "alpha": 2.0,
        "beta": 1.0,
    }
    assert set(fids(whole)) == {
        "a-alternation",
        *(f"a-r{r}-training-{s}" for r in (1, 2) for s in ("autonat-greedy", "test")),
        *(f"a-r{r}-generation-{s}" for r in (1, 2) for s in ("coarse-to-fine", "test")),
    }
    url = Lab.open(whole).record_url
    first = StrategyFile.read(whole / "results" / "a-r1-generation" / "best.json")
    training = Record.open(url, "a-r2-training-autonat-greedy").evaluations[0].probe
    assert training.strategy == first.generation
    assert training.training is not None
    assert training.training.strategy == first.training
    generation = Record.open(url, "a-r2-generation-coarse-to-fine")
    assert generation.evaluations[0].probe.strategy == first.generation
    model = StrategyFile.read(whole / "results" / "a-r2-training" / "best.json").objective
    assert model is not None
    assert generation.settings["objective"]["checkpoint"] == model["checkpoint"]


def test_python_opens_an_alternation(whole: Path) -> None:
    found = load("a", lab=whole)
    assert [result.method for result in found.results] == ["before", "round 1", "round 2"]
    last = StrategyFile.read(whole / "results" / "a" / "best.json")
    assert found.best == last.generation
    counts = {name: len(values) for name, values in fids(whole).items() if "test" not in name}
    assert len(found.dataframe()) == sum(counts.values())
    assert set(found.figures()) == {"schedules", "search", "final test"}


def test_the_best_round_is_what_is_handed_back(whole: Path) -> None:
    best = StrategyFile.read(whole / "results" / "a" / "best.json")
    rounds = [
        StrategyFile.read(whole / "results" / f"a-r{r}-generation" / "best.json") for r in (1, 2)
    ]
    assert best.test is not None
    assert best.test.value == min(r.test.value for r in rounds if r.test)
    assert best.training is not None
    page = (whole / "results" / "a" / "report.html").read_text()
    for words in ("Training strategies", "round 2", "before", "Samples", "Schedules"):
        assert words in page


def test_the_report_of_a_part_says_what_is_not_done(
    autonat: Autonat, whole: Path, tmp_path: Path
) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(whole, lab)
    shutil.rmtree(lab / "results" / "a")
    shutil.rmtree(lab / "results" / "a-r2-generation")  # as if it were not finished
    assert autonat("report", "a", "--lab", lab)[0] == 0
    page = (lab / "results" / "a" / "report.html").read_text()
    said = "This alternation is not finished: 1 of 2 rounds are done. autonat search --resume a"
    assert said in page
    assert "which lies beside this report" not in page
    assert "a-r1-generation-coarse-to-fine" in page
    assert "not finished" not in (whole / "results" / "a" / "report.html").read_text()
    shutil.rmtree(lab / "results" / "a-r1-generation")
    assert "autonat report" not in autonat("show", "a", "--lab", lab)[1]


def test_it_is_compared_by_rounds(autonat: Autonat, whole: Path) -> None:
    code, out, _ = autonat("compare", "a", "a-r1-generation", "--lab", whole, "--json")
    assert code == 0
    told = json.loads(out)
    rows = {(row.get("search"), row["method"]): row for row in told["results"]}
    assert {("a", "before"), ("a", "round 1"), ("a", "round 2")} <= set(rows)
    half = rows["a-r1-generation", "coarse-to-fine"]
    assert rows["a", "round 1"]["fids"] == half["fids"]
    assert {(a["name"], a.get("search")) for a in told["anchors"]} == {
        ("constant image", None),
        ("real images", None),
    }
    page = (whole / "results" / "a" / "report.html").read_text()
    assert "constant image" in page


def test_a_report_tells_what_it_is_and_what_both_halves_cost(whole: Path) -> None:
    lab = Lab.open(whole)
    found = compared(lab, ["a"])
    assert found.settings["a"]["search"]["what"] == "both"
    facts = comparing._more_facts(found.settings["a"])
    assert facts["what is searched"] == "both"
    assert facts["budget"].startswith("for each of at most 2 rounds ")
    first = next(r for r in found.results if r.method == "round 1")
    halves = [
        next(r for r in method_results(search_records(lab.record_url, half)) if r.searched)
        for half in ("a-r1-training", "a-r1-generation")
    ]
    assert first.images == sum(half.images for half in halves)
    assert first.seconds == pytest.approx(sum(half.seconds for half in halves))


def test_one_run_in_mlflow_has_a_study_for_each_half(whole: Path) -> None:
    client = MlflowClient(Lab.open(whole).tracking_uri)
    runs = client.search_runs(["1"], max_results=1000)
    (top,) = [run for run in runs if ALTERNATION_TAG in run.data.tags]
    assert top.info.status == "FINISHED"
    assert len(client.get_metric_history(top.info.run_id, "test_fid")) == 2
    said = top.data.tags["mlflow.note.content"]
    for words in ("before, which the search started from", "| round 2 |", "trained with", "t = 1"):
        assert words in said
    pictures = {file.path for file in client.list_artifacts(top.info.run_id)}
    assert {"best.json", "report.html", "film.png", "samples.png", "real.png"} <= pictures
    halves = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == top.info.run_id]
    assert len(halves) == 8  # each with its final test
    trained = next(h for h in halves if h.info.run_name == "a-r1-training-autonat-greedy")
    names = {file.path for file in client.list_artifacts(trained.info.run_id)}
    assert {"autonat-greedy.json", "nat.safetensors", "report.html"} <= names
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == trained.info.run_id]
    assert all(
        {"fid", "validation_loss", "training_steps"} <= set(c.data.metrics) for c in children
    )
    assert all({"alpha", "beta"} <= set(c.data.params) for c in children)


@pytest.mark.long
def test_interrupted_twice_and_resumed_equals_not_interrupted(
    autonat: Autonat, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early and late. Files of another record, or of an unfinished search, are not believed."""
    lab = tmp_path / "lab"
    shutil.copytree(whole / "results", lab / "results")
    measure = DigitsObjective.evaluate
    count = 0

    def interrupting(self: DigitsObjective, *words: Any) -> Any:
        nonlocal count
        count += 1
        if count in (3, 30):
            with (
                pytest.raises(ValueError, match="study a-alternation has been running in process"),
                hold(Lab.open(lab).record_url, "a-alternation"),
            ):
                pass
            raise KeyboardInterrupt
        return measure(self, *words)

    monkeypatch.setattr(DigitsObjective, "evaluate", interrupting)
    resume = ("search", "--resume", "a", "--lab", lab, "--json")
    for words in ((*BOTH, "--lab", lab), resume):
        code, _, err = autonat(*words)
        assert code == 130
        assert f"autonat search --resume a --lab {lab} continues it" in err
        assert autonat("report", "a-r1-training", "--lab", lab)[0] == 0
        assert (lab / "results" / "a-r1-training" / "best.json").exists()
    code, out, err = autonat(*resume)
    assert code == 0, err
    assert count > 30
    assert json.loads(out)["name"] == "a"
    assert fids(lab) == fids(whole)


@pytest.mark.long
def test_mlflow_is_completed_and_the_report_written_again(
    autonat: Autonat, whole: Path, tmp_path: Path
) -> None:
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    code, _, err = autonat("sync", "--lab", whole, "--tracking-uri", fresh)
    assert code == 0, err
    client = MlflowClient(fresh)
    runs = client.search_runs(["1"], max_results=1000)
    (top,) = [run for run in runs if ALTERNATION_TAG in run.data.tags]
    assert top.info.status == "FINISHED"
    assert len(client.get_metric_history(top.info.run_id, "test_fid")) == 2
    trained = next(r for r in runs if r.info.run_name == "a-r1-training-autonat-greedy")
    assert "test_fid" in trained.data.metrics
    assert "nat.safetensors" in {f.path for f in client.list_artifacts(trained.info.run_id)}
    report = whole / "results" / "a" / "report.html"
    report.unlink()
    assert autonat("report", "a", "--lab", whole)[0] == 0
    assert report.exists()


def test_an_alternation_s_name_is_taken_once(autonat: Autonat, whole: Path) -> None:
    code, _, err = autonat(*BOTH, "--lab", whole)
    assert code == 2
    assert "search a exists already, with the study a-alternation: --resume a continues it" in err
    code, _, err = autonat("search", "--resume", "a", "--lab", whole, "--rounds", "5")
    assert code == 2
    assert "search a was made with rounds = 2, not 5" in err


def test_rounds_end_when_one_gains_less_than_its_error() -> None:
    def rounds(*tests: tuple[float, float]) -> list[alternation.Round]:
        plain = StrategyFile.from_json(json.loads(FILE))
        made = []
        for fid, error in tests:
            numbers = {"value": fid, "standard_error": error, "values": [fid]}
            test = {"metric": "fid", **numbers, "images": 9, "seeds": [1]}
            data = plain.to_json() | {"test": test | {"forward_passes": 1}}
            made.append(alternation.Round("t", "g", StrategyFile.from_json(data)))
        return made

    assert not alternation.has_ended(rounds((5.0, 0.1)), 9)
    assert alternation.has_ended(rounds((5.0, 0.1)), 1)
    assert not alternation.has_ended(rounds((5.0, 0.1), (4.8, 0.1)), 9)
    assert alternation.has_ended(rounds((5.0, 0.1), (4.95, 0.1)), 9)
    assert alternation.has_ended(rounds((5.0, 0.1), (4.0, 0.1), (4.2, 0.1)), 9)
    [tested] = rounds((5.0, 0.1))
    untested = dataclasses.replace(tested.best, test=None)
    none = dataclasses.replace(tested, best=untested)
    assert alternation.has_ended([tested, none], 9)
    assert alternation.has_ended([none, none], 9)
    assert not alternation.has_ended([none, tested], 9)
    found = rounds((5.0, 0.1), (4.0, 0.1), (4.2, 0.1))
    assert alternation.best_round(found) is found[1]


FILE = json.dumps(
    {
        "format": "autonat-strategy/1",
        "generation": {
            "steps": 1,
            "mask_ratio": [],
            "remask_temperature": [],
            "sampling_temperature": [1.0],
            "guidance_scale": [0.0],
            "guidance_floor": 0.0,
        },
        **dict.fromkeys(
            ("training", "objective", "protocol", "test", "search", "versions", "mlflow")
        ),
    }
)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--optimiser", "tpe", "--optimiser", "cmaes"),
            "expected one for the generation searches",
        ),
        (
            ("--training-optimiser", "coarse-to-fine"),
            "coarse-to-fine searches generation strategies, not",
        ),
        (("--bounds", "guidance_scale=2:3"), "guidance_scale_0 = 0.5 is outside its bounds"),
        (("--budget", "300"), "budget = 300 images is too small for coarse-to-fine"),
        (("--training-budget", "10"), "training_budget = 10 steps is less than one training"),
        (("--steps", "65"), "T = 65 steps, but the image has only 64 tokens"),
        (("--rounds", "0"), "rounds"),
        (("--optimiser-set", "coarse-to-fine.nonsense=3"), "has no setting 'nonsense'"),
        (("--optimiser-set", "autonat-greedy.stride=2"), "stride = 2 is outside (0, 1)"),
        (("--fine-tune-from", "sha256:" + "0" * 64), "nat.safetensors: No such file or directory"),
        (("--set", "checkpoint=sha256:" + "0" * 64), "trains its own models"),
        (("--what", "training"), "rounds = 2 does not apply to what = training"),
    ],
)
def test_both_halves_are_checked_before_anything_trains(
    autonat: Autonat, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    options = laid_over(BOTH[1:], *words)
    code, _, err = autonat(BOTH[0], *options, "--lab", tmp_path / "lab")
    assert code == 2
    assert line in err
    assert err.count("autonat: ") == 1
    assert not (tmp_path / "lab" / "training").exists()
    assert study_names(Lab.open(tmp_path / "lab").record_url) == []
