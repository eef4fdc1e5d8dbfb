"""docs/extending: files of somebody else's, each tried by its conformance suite and searched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from models.testing import check_generator, check_metric
from search.schedules import SCHEDULES
from search.strategy_file import StrategyFile
from search.testing import check_optimiser
from trials.testing import check_objective

DOCS = Path(__file__).parents[1] / "docs"
Autonat = Callable[..., tuple[int, str, str]]
SMALL = "--runner local --steps 2 --budget 480 --images 120 --test-images 120 --test-seeds 1,2"


@pytest.fixture(autouse=True)
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with their files, in which the test runs; a schedule is forgotten after it."""
    monkeypatch.setattr(SCHEDULES, "_known", dict(SCHEDULES.items()))
    for file in (DOCS / "extending").glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return


def test_each_keeps_the_promises_of_its_kind() -> None:
    check_optimiser("spsa:SPSA", evaluations=13)
    check_generator(
        import_module("captioned").Captioned(0), import_module("captioned").Captioned(1)
    )
    check_metric(import_module("missed").Missed())
    check_objective(import_module("steep").Steep())
    check_objective(import_module("noise_scale").Noisy())
    pictures = import_module("pictures").Pictures()
    pictures.prepare(Path.cwd(), lambda *_: None)
    check_objective(pictures)


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (
            "--objective steep:Steep --optimisers spsa:SPSA --set wanted=1.5",
            {"name": "steep:Steep"},
        ),
        ("--objective captioned:CaptionedObjective --optimisers random", {"dataset": "noise"}),
        (
            "--objective captioned:CaptionedObjective --set metric=missed:Missed "
            "--optimisers random",
            {"dataset": "noise"},
        ),
        (
            "--objective noise_scale:Noisy --bounds noise_scale=0.1:10:log --optimisers tpe",
            {"name": "noise_scale:Noisy"},
        ),
        (
            "--objective pictures:Pictures --test-metric contrast --optimisers random",
            {"dataset": "noise"},
        ),
    ],
)
def test_each_takes_part_in_a_search(autonat: Autonat, words: str, holds: dict[str, Any]) -> None:
    code, _, err = autonat("search", *words.split(), *SMALL.split(), "--name", "theirs")
    assert code == 0, err
    file = StrategyFile.read(Path("autonat-lab/results/theirs/best.json"))
    assert file.objective is not None
    assert {key: file.objective[key] for key in holds} == holds
    if "noise_scale" in words:
        assert len(file.generation.schedule("noise_scale")) == 2
    if "missed" in words:
        assert file.test is not None
        assert file.test.metric == "missed"
    if "contrast" in words:
        assert file.search is not None
        assert file.test is not None
        assert (file.search["metric"], file.test.metric) == ("brightness", "contrast")


def test_a_schedule_is_known_wherever_its_objective_is(autonat: Autonat, tmp_path: Path) -> None:
    """In processes of their own, that have not imported it."""
    shutil.copy(tmp_path / "noise_scale.py", Path.cwd())  # where the command line stands
    words = "--objective noise_scale:Noisy --optimisers random --bounds noise_scale=0.1:10:log"
    code, _, err = autonat("search", *words.split(), *SMALL.split(), "--name", "theirs")
    assert code == 0, err

    def run(words: str) -> subprocess.CompletedProcess[str]:
        code = "from trials.cli import entry; entry.main()"
        told = [sys.executable, "-c", code, *words.split()]
        return subprocess.run(told, capture_output=True, text=True, check=False)

    best = "autonat-lab/results/theirs/best.json"
    assert "noise_scale" in run(f"show {best}").stdout
    resumed = run("search --resume theirs")
    assert resumed.returncode == 0, resumed.stderr
    Path("noise_scale.py").unlink()
    found = run(f"show {best}")
    assert found.returncode == 2
    assert (
        "schedule noise_scale is unknown without objective noise_scale:Noisy: No module named"
        in found.stderr
    )


def test_the_page_counts_their_lines() -> None:
    page = (DOCS / "extending.md").read_text()
    told = dict(re.findall(r"^\| .*\(extending/(\w+\.py)\) \| (\d+) \|", page, re.MULTILINE))
    files = {file.name: file for file in (DOCS / "extending").glob("*.py")}
    assert told == {name: str(len(f.read_text().splitlines())) for name, f in files.items()}
