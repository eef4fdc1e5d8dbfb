from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from search.final_test import FinalTest
from search.public_yaml import write_public
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials import progress
from trials.cli.printing import out

STRANGE = "[bold]x[/y] :smile:"
"""Markup, a tag that closes nothing, an emoji; a name that somebody may have chosen."""


def test_a_path_is_printed_as_it_is(
    autonat: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    write_public(tmp_path / "public.yaml", GenerationStrategy.maskgit(3))
    target = tmp_path / f"{STRANGE.replace('/', '-')}.json"
    assert autonat("import", tmp_path / "public.yaml", target) == (0, f"{target}\n", "")


def test_a_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", STRANGE)
    table.add_row(STRANGE, "2")
    out.print(table)
    assert capsys.readouterr().out.count(STRANGE) == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_names_as_they_are(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()
    monkeypatch.setattr(progress.stderr, "_file", seen)
    monkeypatch.setattr(progress.stderr, "_force_terminal", terminal)
    with progress.LiveProgress() as live:
        live.update(STRANGE, 1, 1, STRANGE)
        live.say(STRANGE)
    assert seen.getvalue().count(STRANGE) >= 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_number_is_lost_where_letters_lack(encoding: str, tmp_path: Path) -> None:
    fids = {1: 2.0, 2: 2.2, 3: 2.5}
    file = tmp_path / "häßlich.json"
    strategy = GenerationStrategy.maskgit(3)
    StrategyFile(strategy, test=FinalTest.of(fids, 100, 6)).write(file)
    public = tmp_path / "öffentlich.yaml"
    for words in (["show", file], ["export", "--help"], ["import", public, file]):
        write_public(public, strategy)
        ran = subprocess.run(
            [sys.executable, "-c", "from trials.cli.entry import main; main()", *map(str, words)],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
        if words[0] == "show":
            assert "FID 2.23 {} 0.15".format("+-" if encoding == "ascii" else "±") in (
                ran.stdout.decode(encoding).replace("\N{NO-BREAK SPACE}", " ")
            )
