"""The command line in this process, for fixtures that several tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trials.cli import entry


def run_in(folder: Path, *words: str) -> None:
    """Run a command that succeeds, from this folder. Without `--lab`, the lab is `autonat-lab`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["autonat", *words])
        with pytest.raises(SystemExit) as stop:
            entry.main()
    assert not stop.value.code
