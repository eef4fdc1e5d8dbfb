"""The Pareto front: who is measured, and that nobody known lies below it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.final_test import FinalTest
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from tests.command_line import run_in
from trials.objectives import measured
from trials.results.front import Candidate, measured_front

Autonat = Callable[..., tuple[int, str, str]]
RULE = GenerationStrategy.maskgit(4)


def candidate(guided: int, fid: float, name: str = "tpe") -> Candidate:
    """Of 4 + guided passes; `fid` is what measuring it gives."""
    scale = (0.0,) * (4 - guided) + (fid,) * guided
    strategy = dataclasses.replace(RULE, guidance_scale=scale, sampling_temperature=(fid,) * 4)
    return Candidate(name, strategy, True, 1.0)


def measure(strategy: GenerationStrategy) -> FinalTest:
    fid = strategy.sampling_temperature[0]
    if fid == 99:
        raise ValueError("test.fid = nan is not a finite number")
    return FinalTest.of({1: fid}, 100, strategy.forward_passes(), 0.1)


def test_the_front_is_that_of_what_was_measured_not_of_what_was_believed() -> None:
    found = [candidate(0, 9.0), candidate(1, 9.5), candidate(2, 5.0, "cmaes"), candidate(2, 5.1)]
    found += [candidate(3, 99.0), candidate(4, 5.0)]
    front, failed = measured_front(found, measure)
    assert [(p.candidate.forward_passes, p.test.value) for p in front] == [(4, 9.0), (6, 5.0)]
    assert front[1].candidate.found_by == "cmaes"
    assert [reason for _, reason in failed] == ["test.fid = nan is not a finite number"]
    assert front[0].to_json()["fid_se_from"] == "measurement"


def test_a_front_of_nothing_is_one_line(
    autonat: Autonat, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(autonat("front", "s", "--json", "--seeds", "9")[1])["measured"]
    kept, calls = measured.replicate, 0

    def broken(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in failing:
            raise ValueError("test.fid = nan is not a finite number")
        return kept(*given)

    monkeypatch.setattr(measured, "replicate", broken)
    failing = range(1, 2)
    assert json.loads(autonat("front", "s", "--json", "--seeds", "9")[1])["measured"] == whole - 1
    failing = range(1, 1000)
    code, out, err = autonat("front", "s", "--seeds", "9")
    assert (code, out) == (2, "")
    assert f"autonat: none of the {whole} strategies that may be on the front could be" in err
    assert err.endswith("failed with: test.fid = nan is not a finite number\n")


def test_what_was_measured_before_an_interrupt_is_shown(
    autonat: Autonat, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, calls = measured.replicate, 0

    def interrupted(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return kept(*given)

    monkeypatch.setattr(measured, "replicate", interrupted)
    code, out, err = autonat("front", "s", "--json", "--seeds", "9")
    assert code == 130
    assert json.loads(out)["measured"] == 2
    assert "interrupted; this is the front of the 2 strategies measured before" in err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a search of two methods with noise enough for its beliefs to be wrong."""
    folder = tmp_path_factory.mktemp("made")
    words = "--objective simulated --runner local --steps 4 --budget 3000 --images 75 --name s"
    words += " --optimiser tpe --optimiser nsgaii-passes --test-images 400 --control published"
    run_in(folder, "search", *words.split(), "--control", "more remask noise")
    return folder / "autonat-lab"


@pytest.fixture
def searched(autonat: Autonat, made: Path) -> Path:
    """The results of that search, in the lab of the working directory."""
    shutil.copytree(made, "autonat-lab")
    return Path("autonat-lab/results/s")


def test_no_point_is_beaten_by_what_the_final_test_knows(autonat: Autonat, searched: Path) -> None:
    code, out, _ = autonat("front", "s", "--json")
    assert code == 0
    told = json.loads(out)
    front = [(point["forward_passes"], point["fid"]) for point in told["front"]]
    assert front == sorted(front)
    known = json.loads(autonat("compare", "s", "--json")[1])["results"]
    assert told["measured"] >= len(known) > len(front)
    for result in known:
        ours = [fid for passes, fid in front if passes <= result["forward_passes"]]
        assert min(ours) <= result["fid"]
    best = StrategyFile.read(searched / "best.json").test
    assert best is not None
    assert min(fid for _, fid in front) <= best.value
    again = json.loads(autonat("front", "s", "--json", "--seeds", "1,2,3", "--images", 400)[1])
    assert again["front"] == told["front"]
    other = json.loads(autonat("front", "s", "--json", "--seeds", "9")[1])["front"]
    assert {point["fid_se_from"] for point in other} == {"measurement"}
    code, out, _ = autonat("front", "s", "--seeds", "9")
    assert "± of one seed" in out


def test_models_trained_for_their_strategies_have_no_front(autonat: Autonat) -> None:
    words = "--what training --runner local --set width=8 --set depth=0 --steps 2 --name t"
    words += " --training-steps 4 --training-budget 8 --optimiser random --images 80"
    assert autonat("search", *words.split(), "--test-images", 80, "--test-seeds", 1)[0] == 0
    code, _, err = autonat("front", "t")
    assert code == 2
    assert "study t-random searched what = training" in err
