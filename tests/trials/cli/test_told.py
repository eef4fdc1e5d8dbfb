"""What commands tell of autonat itself: its version, objectives and presets; and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from trials.cli import tables

Autonat = Callable[..., tuple[int, str, str]]


def one_line(code: int, out: str, err: str) -> str:
    assert (code, out) == (2, "")
    return err.strip().splitlines()[-1]


def test_the_version(autonat: Autonat) -> None:
    assert autonat("--version")[:2] == (0, f"autonat {version('autonat')}\n")


def test_the_settings_of_an_objective(autonat: Autonat) -> None:
    code, out, _ = autonat("objectives", "simulated")
    assert code == 0
    assert out.startswith("Measures strategies on a landscape in closed form.")
    assert "\n  noise = 1.0\n" in out
    digits = autonat("objectives", "digits")[1]
    assert "\n  checkpoint = null\n" in digits
    assert "\n  alpha (of some distributions of mask ratios)\n" in digits
    assert "\n  reference (needed)\n" in autonat("objectives", "images")[1]
    assert "(did you mean digits?)" in one_line(*autonat("objectives", "digts"))


def test_a_preset_says_whose_sampler_it_is(autonat: Autonat, tmp_path: Path) -> None:
    about = json.loads(autonat("show", "muse-class", "--json")[1])["about"]
    assert about.startswith("MUSE-Pytorch's sampler for ImageNet at T = 12, exactly: ")
    assert autonat("show", "muse-class")[1].startswith(about)
    line = one_line(*autonat("show", "muss-class", "--lab", tmp_path))
    assert line.endswith("(did you mean muse-class?)")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("export small best.txt", "best.txt: expected OUT.json or OUT.yaml"),
        ("sample muse-class out.jpeg", "out.jpeg: expected the name of a picture, OUT.png"),
    ],
)
def test_other_endings_than_those_that_are_written(autonat: Autonat, words: str, line: str) -> None:
    assert line in one_line(*autonat(*words.split()))


def test_whole_names_fit_narrow_terminals(
    autonat: Autonat, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables.out, "width", 80)
    code, out, _ = autonat("compare", "small", "--lab", searched)
    assert code == 0
    table = [line for line in out.splitlines() if line.startswith(("┃", "│"))]
    assert max(map(len, table)) <= 80
    assert "rule of thumb (control)" in out
    assert "a wider terminal, and --json, also show images and seconds" in out
