"""What a Ray that is started on this machine needs: a folder for its sockets, and a token."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have."""
SESSION_PATH = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.0")
"""Bytes of them that Ray adds to its folder."""
OWN_FOLDER = "ray-01234567"
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


@contextlib.contextmanager
def session_folder() -> Iterator[str | None]:
    """Where Ray puts its session: None is where it does so by itself, below TMPDIR.

    Raises:
        ValueError: that cannot be used, nor can another folder.
    """
    usual = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
    fault = _fault(usual, "ray")
    if fault is None:
        yield None
        return
    other = next((name for name in SHORT_FOLDERS if _fault(Path(name), OWN_FOLDER) is None), None)
    if other is None:
        raise ValueError(
            f"TMPDIR {usual}: {fault}, and none of {', '.join(SHORT_FOLDERS)} can be used in its "
            "place; name a short folder that can be written with TMPDIR"
        )
    with tempfile.TemporaryDirectory(prefix="ray-", dir=other, ignore_cleanup_errors=True) as own:
        yield own


def see_to_token() -> None:
    """Ray keeps its token in ~/.ray; where that cannot be written, it gets one that goes with this
    process."""
    if home_fault() is not None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))


def home_fault() -> str | None:
    """Why Ray could not keep a token in the home folder; None where it can, or need not."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return None
    try:
        folder = Path.home() / ".ray"
        if (folder / "auth_token").is_file():
            return None
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except (OSError, RuntimeError) as error:  # the latter where there is no home
        return getattr(error, "strerror", None) or str(error)


def _fault(folder: Path, name: str) -> str | None:
    """Why Ray could not keep its session in the folder of that name below; None where it can."""
    if len(os.fsencode(folder / name)) + SESSION_PATH > SOCKET_PATH:
        return f"too long for the sockets of Ray, whose paths have {SOCKET_PATH} bytes at most"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"it cannot be written ({error.strerror})"
