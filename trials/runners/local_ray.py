"""Provides what a Ray that is started on this machine needs: a folder for sockets, a token, and a
group of processes apart from ours."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOCKET_PATH = 107
"""The most bytes that the path of a Unix socket may have."""
SESSION_PATH = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.0")
"""How many bytes Ray adds to the path of its folder."""
OWN_FOLDER = "ray-01234567"
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


@contextlib.contextmanager
def session_folder() -> Iterator[str | None]:
    """The folder for Ray's session, or None where Ray's own choice below TMPDIR can be used.

    Raises:
        ValueError: neither that nor another folder can be used.
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
            "place; set TMPDIR to a writable folder with a short path"
        )
    with tempfile.TemporaryDirectory(prefix="ray-", dir=other, ignore_cleanup_errors=True) as own:
        yield own


@contextlib.contextmanager
def group_of_its_own() -> Iterator[None]:
    """Start the processes of Ray in groups of their own while the block runs.

    SIGTERM and SIGHUP are often sent to a whole group, by `timeout`, a scheduler or a terminal that
    is closed. They would end Ray before the search, which then waits for it for a minute, in vain.
    """
    from ray._private import services  # doctor looks at folders before it imports Ray

    untyped: Any = services
    usual = untyped.ConsolePopen
    untyped.ConsolePopen = functools.partial(usual, process_group=0)
    try:
        yield
    finally:
        untyped.ConsolePopen = usual


def ensure_token() -> None:
    """Make sure that Ray has a token.

    Ray keeps its token in ~/.ray. Where that cannot be written, it gets one for this process only.
    """
    if home_fault() is not None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))


def home_fault() -> str | None:
    """Why Ray cannot keep a token in the home folder; None where it can, or does not need to."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return None
    try:
        folder = Path.home() / ".ray"
        if (folder / "auth_token").is_file():
            return None
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except (OSError, RuntimeError) as error:  # RuntimeError where there is no home folder
        return getattr(error, "strerror", None) or str(error)


def _fault(folder: Path, name: str) -> str | None:
    """Why Ray cannot keep its session in `folder / name`; None where it can."""
    if len(os.fsencode(folder / name)) + SESSION_PATH > SOCKET_PATH:
        return f"too long for the sockets of Ray, whose paths may have {SOCKET_PATH} bytes"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"it cannot be written ({error.strerror})"
