"""Strategies on other models and at other T, by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search.final_test import FinalTest
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.training_strategy import TrainingStrategy
from trials.searches.transfer import Transferred, gaps_kept, target_settings

Autonat = Callable[..., tuple[int, str, str]]
SMALL = {"width": 8, "depth": 0, "training_steps": 20}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Found at T = 4 on a small model."""
    path = tmp_path / "found.json"
    strategy = GenerationStrategy.maskgit(4).with_steps(4)
    objective = {"name": "digits", "settings": SMALL, "dataset": None, "checkpoint": None}
    training = TrainingStrategy("beta", {"alpha": 4, "beta": 2})
    StrategyFile(strategy, training, objective | {"tokens": 64}).write(path)
    return path


@pytest.mark.long
def test_another_model_and_other_t(autonat: Autonat, file: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    plain = ("transfer", file, "--set", "width=12", "--lab", lab, "--json")
    more = ("--test-images", 100, "--test-seeds", "1,2", "--images", 100, "--workers", 1)
    code, out, err = autonat(*plain, *more, "--steps", "2,3")
    assert code == 0, err
    assert [(r["steps"], r["name"]) for r in json.loads(out)["transfers"]] == [
        (t, name) for t in (2, 3) for name in ("rule of thumb", "transferred")
    ]
    words = (*plain, "--steps", "3")
    code, out, err = autonat(*words, *more, "--refine", 900)
    assert code == 0, err
    rows = json.loads(out)["transfers"]
    assert [(r["steps"], r["name"]) for r in rows] == [
        (3, name) for name in ("rule of thumb", "transferred", "refined")
    ]
    assert all(r["strategy"]["steps"] == r["steps"] for r in rows)
    assert all(r["seeds"] == [1, 2] and r["images"] == 100 for r in rows)
    own = [StrategyFile.read(p) for p in (lab / "results" / "transfer").glob("*.json")]
    assert {o.objective["settings"]["width"] for o in own if o.objective} == {12}
    # Done once: the second time the searches are only read.
    code, again, _ = autonat(*words, *more, "--refine", 900)
    assert json.loads(again) == json.loads(out)


def test_weights_give_way_to_a_model_trained_alike(file: Path) -> None:
    found = StrategyFile.read(file)
    assert found.objective is not None
    settings = {**SMALL, "checkpoint": "sha256:" + "0" * 64}
    with_weights = StrategyFile(
        found.generation, found.training, {**found.objective, "settings": settings}
    )
    url = "sqlite:///not-there.db"
    assert target_settings(with_weights, {}, url) == settings
    # How classes are drawn changes no weights.
    changed = {"classes": "random"}
    assert target_settings(with_weights, changed, url) == settings | changed
    assert target_settings(with_weights, {"width": 12}, url) == {
        **SMALL,
        "width": 12,
        "mask_ratio_distribution": "beta",
        "alpha": 4.0,
        "beta": 2.0,
    }


def test_gaps() -> None:
    def row(fid: float) -> Transferred:
        test = FinalTest(fid, None, (fid,), 100, (1,), 8)
        return Transferred("x", GenerationStrategy.maskgit(4), test)

    assert gaps_kept([row(10.0), row(7.0), row(6.0)]) == [0.0, 0.75, 1.0]
    assert gaps_kept([row(10.0), row(11.0)]) == [None, None]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--steps", "0"), "steps: expected numbers above 0, got 0"),
        (("--steps", "4,x"), "steps: expected whole numbers separated by commas, got '4,x'"),
        (("--steps", "4,4"), "steps: 4 is named twice"),
        (("--steps", "65"), "T = 65 steps, but the image has only 64 tokens"),
        (("--set", "width=7"), "width = 7"),
        (("--test-seeds", "a"), "seeds: expected whole numbers separated by commas, got 'a'"),
    ],
)
def test_bad_input_is_one_line(
    autonat: Autonat, file: Path, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    code, _, err = autonat("transfer", file, *words, "--lab", tmp_path / "lab")
    assert code == 2
    assert line in err
    assert err.count("autonat: ") == 1


def test_a_refinement_that_is_interrupted_says_so(
    autonat: Autonat, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = FinalTest(9.0, None, (9.0,), 100, (1,), 8)
    found = [Transferred("transferred", GenerationStrategy.maskgit(4), test)]
    monkeypatch.setattr("trials.publishing.transferring.prepare", lambda *_: None)
    monkeypatch.setattr("trials.publishing.transferring.measure_transfer", lambda *_: found)
    monkeypatch.setattr("trials.publishing.transferring.refined", lambda *_: None)
    words = ("--refine", 900, "--images", 100, "--test-images", 100)
    code, out, err = autonat("transfer", file, *words, "--lab", tmp_path / "lab")
    assert (code, out) == (130, "")
    assert err.endswith("autonat: interrupted\n")


def test_a_file_without_an_objective(autonat: Autonat, tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    StrategyFile(GenerationStrategy.maskgit(4)).write(path)
    code, _, err = autonat("transfer", path)
    assert code == 2
    assert "names no objective" in err
