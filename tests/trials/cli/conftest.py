from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.options import SMALL
from trials.cli import entry


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a whole small search, by the command line in this process. Tests that change it
    copy it first."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["autonat", "search", *SMALL, "--lab", str(folder / "lab")])
        with pytest.raises(SystemExit) as stop:
            entry.main()
    assert not stop.value.code
    return folder / "lab"
