from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trials import cli, search_command

Autonat = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_starts_it_ends_quietly(kind: signal.Signals) -> None:
    code = "from trials import entry; print('ready', flush=True); entry.main()"
    words = [sys.executable, "-c", code, "objectives"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # its imports take seconds
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "autonat: interrupted\n")


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_what_was_not_begun_is_not_to_be_resumed(
    autonat: Autonat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_command, "launch", interrupted)
    code, _, err = autonat("search", "--objective", "simulated", "--lab", tmp_path / "lab")
    assert (code, err) == (130, "interrupted before there was anything to resume\n")


def test_a_training_says_how_it_goes_on(autonat: Autonat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_trained", interrupted)
    code, _, err = autonat("train", "--objective", "digits")
    assert code == 130
    assert "the same command goes on" in err
