"""Atomic file writes: a file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Write a file so that nobody ever sees a part of it, even if this process is killed.

    Args:
        path: the path of the file; its folder must exist.

    Yields:
        A temporary path to write to, in the same folder. When the block ends, its content is
        flushed to disk and replaces the file; if the block raises, the temporary file is removed
        and the file stays as it was.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; see `write_whole`."""
    with write_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def named_os_errors(what: object) -> Iterator[None]:
    """Turn an error of the operating system into one line, "OUT.json: Permission denied".

    Args:
        what: the file or folder that is read or written, named in the line.

    Raises:
        ValueError: the line.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{what}: {error.strerror or error}") from None
