"""A file is whole or as it was, whatever ends the process that writes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.files import write_text, write_whole

WRITES = """
import os, resource, signal, sys
from pathlib import Path
from search.files import write_whole
how, path = sys.argv[1], Path(sys.argv[2])
if how == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with write_whole(path) as partial:
    with partial.open("wb") as file:
        file.write(b"new" * 4096)
        file.flush()
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    write_text(tmp_path / "file", "nëw")
    assert (tmp_path / "file").read_bytes() == "nëw".encode()
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.parametrize("before", ["old", None])
@pytest.mark.parametrize("how", ["full", "killed"])
def test_what_ends_before_it_is_whole_changes_nothing(
    tmp_path: Path, how: str, before: str | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    ran = subprocess.run([sys.executable, "-c", WRITES, how, path], capture_output=True, text=True)
    if how == "full":
        assert "File too large" in ran.stderr
        assert not [*tmp_path.glob("*.partial")]
    else:
        assert ran.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == before


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with write_whole(tmp_path / "file") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [*tmp_path.iterdir()]


def test_it_is_on_the_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = tmp_path / "file", os.fsync
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(path.exists())
        kept(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "text")
    assert synced == [False]
