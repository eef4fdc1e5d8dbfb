from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials import cli
from trials.digits import DigitsObjective
from trials.lab import Lab
from trials.local_runner import run_local
from trials.objective import describe
from trials.record import Record
from trials.simulated import SimulatedObjective
from trials.study import Study
from trials.tabulated import tabulate


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DigitsObjective:
    """The digits objective as the demo trains it."""
    objective = DigitsObjective()
    objective.prepare(tmp_path_factory.mktemp("digits"), lambda *_: None)
    return objective


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 150 simulated evaluations at T = 4."""
    folder = tmp_path_factory.mktemp("table")
    lab = Lab.open(folder)
    objective, space = SimulatedObjective(), Space(GenerationStrategy.maskgit(4))
    settings = {**describe("simulated", {}, objective), "space": space.to_json(), "kind": "search"}
    record = Record.create(lab.record_url, "small-qmc", settings)
    optimiser = make_optimiser("qmc", space, Budget(150 * 200, 200), 0)
    run_local(Study(optimiser, record, space, 150, lambda _: None), objective)
    tabulate([record], folder / "small.parquet")
    return folder / "small.parquet"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.open(tmp_path / "lab")


@pytest.fixture
def autonat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process from an empty folder: exit code, stdout, stderr."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autonat", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
