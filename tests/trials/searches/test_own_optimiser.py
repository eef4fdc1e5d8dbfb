"""Somebody's own optimiser, schedule and choices from the command line, to the end and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from docs.extending.spsa import SPSA
from search.registry import OPTIMISERS_BY_NAME
from search.schedules import SCHEDULES
from search.strategy_file import StrategyFile
from trials.searches.reading import read_settings

Autonat = Callable[..., tuple[int, str, str]]

OPTIMISER = "docs.extending.spsa:SPSA"
SMALL = ("--runner", "local", "--workers", "1", "--steps", "3", "--budget", "1500")
SMALL += ("--images-per-evaluation", "100", "--test-images", "100", "--test-seeds", "1")
OBJECTIVE = """
from search.bound import Bound
from search.measurement import Measurement
from search.schedules import Schedule, register

register(
    Schedule(
        name="noise_scale",
        about="the scale of the noise on my logits",
        rule_of_thumb=lambda steps: (1.0,) * steps,
        bound=lambda steps: Bound(0.1, 10.0, log=True),
    )
)


class Noisy:
    tokens = 64
    heeds = ("noise_scale", "token_order")

    def describe(self):
        return {"dataset": None, "protocol": {"features": "none"}}

    def evaluate(self, strategy, images, seed):
        value = 3 + sum((v - 0.5) ** 2 for v in strategy.schedule("noise_scale"))
        value -= strategy.token_order == "halton"
        return Measurement(value, None, images, strategy.forward_passes(), 0.01)
"""


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["tpe", "TPE"], "the strategy files of TPE and of tpe would both be called tpe.json"),
        (["best"], "the strategy files of best and of the best strategy would both be called"),
    ],
)
def test_two_strategy_files_of_one_name_are_refused(
    names: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TPE", "best"):
        monkeypatch.setitem(OPTIMISERS_BY_NAME._registered, name, SPSA)
    with pytest.raises(ValueError, match=line):
        read_settings({"optimisers": names})


def test_an_optimiser_of_ones_own(autonat: Autonat, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    words = ("search", "--name", "own", "--objective", "simulated", *SMALL, "--lab", lab)
    settings = ("--optimisers", OPTIMISER, "--optimiser-settings", f"{OPTIMISER}.gain=0.1")
    code, _, err = autonat(*words, *settings)
    assert code == 0, err
    file = StrategyFile.read(lab / "results" / "own" / "best.json")
    assert file.search is not None
    assert file.search["optimiser"] == OPTIMISER
    assert file.search["settings"] == {"gain": 0.1, "width": 0.05}
    ours = lab / "results" / "own" / "docs.extending.spsa-SPSA.json"
    former = ours.with_name(f"{OPTIMISER}.json")  # of earlier versions
    for there in (ours, ours.rename(former)):
        target = tmp_path / f"{there.stem}.exported.json"
        code, _, err = autonat("export", "own", target, "--method", OPTIMISER, "--lab", lab)
        assert code == 0, err
        assert StrategyFile.read(target) == StrategyFile.read(former if former.exists() else ours)
    assert autonat("report", "own", "--lab", lab)[0] == 0
    assert (ours.exists(), former.exists()) == (True, False)
    code, out, err = autonat("search", "--resume", "own", "--lab", lab, "--json")
    assert code == 0, err
    assert {row["method"] for row in json.loads(out)["results"]} >= {OPTIMISER}


@pytest.mark.long
def test_a_schedule_and_a_choice_are_searched(
    autonat: Autonat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCHEDULES, "_known", dict(SCHEDULES.items()))
    Path("noisy.py").write_text(OBJECTIVE)
    lab = tmp_path / "lab"
    words = ("search", "--name", "fifth", "--objective", "noisy:Noisy", *SMALL, "--lab", lab)
    searched = ("--bounds", "noise_scale=0.1:2:log", "--choices", "token_order=confidence,halton")
    code, _, err = autonat(*words, *searched, "--optimisers", "tpe")
    assert code == 0, err
    best = lab / "results" / "fifth" / "best.json"
    found = StrategyFile.read(best).generation
    assert found.token_order == "halton"
    assert found.schedule("noise_scale") != (1.0,) * 3
    code, out, _ = autonat("show", best)
    assert code == 0
    assert "noise" in out
    assert "token_order = halton" in out
    report = (lab / "results" / "fifth" / "report.html").read_text(encoding="utf-8")
    assert "noise scale" in report
    code, _, err = autonat("search", "--resume", "fifth", "--lab", lab)
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--choices", "token_order=halton"), "its attribute heeds does not name token_order"),
        (("--choices", "token_order=hilbert"), "token_order = 'hilbert' is unknown; known: conf"),
        (
            ("--choices", "order=halton"),
            "unknown choice 'order'; known: token_order, confidence",
        ),
        (("--choices", "token_order"), "expected NAME=VALUE, got 'token_order'"),
        (
            ("--optimisers", "autonat-greedy"),
            "searches training strategies, not generation strategies",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    autonat: Autonat, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    code, _, err = autonat("search", "--objective", "simulated", *words, "--lab", tmp_path / "lab")
    assert code == 2
    assert line in err
    assert "Traceback" not in err
