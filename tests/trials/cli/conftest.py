from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import run_in
from tests.options import SMALL


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a whole small search. Tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("searched")
    run_in(folder, "search", *SMALL, "--lab", str(folder / "lab"))
    return folder / "lab"
