"""Keeps what anything prints from tearing a live display apart: it appears above, line by line.

Libraries hold streams of their own, and compiled code writes to the file descriptors, so these are
what is captured.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from trials.progress.lasting import lasting

STREAMS = (1, 2)
LAST_SECONDS = 1.0
"""How long to wait for the last lines at the end. A process that was started meanwhile may hold
the other end open for longer."""


@contextlib.contextmanager
def captured_output(console: Console, above: Callable[[Text], None]) -> Iterator[None]:
    """Pass on what is written to the terminal by anything but the console while the block runs.

    Nothing is done where the console does not write to the terminal of this process's stderr.

    Args:
        console: draws the display; it keeps writing to the terminal.
        above: called with each line, in a thread of its own.
    """
    terminals = [fd for fd in STREAMS if _is_terminal(fd)]
    stderr: TextIO = sys.stderr
    if 2 not in terminals or stderr is not console.file or stderr.fileno() != 2:
        yield
        return
    kept = {fd: os.dup(fd) for fd in terminals}
    screen = lasting(stderr, os.dup(2), closes=True)
    reading, writing = os.pipe()
    reader = threading.Thread(target=_pass_on, args=(reading, above), daemon=True)
    _flush()
    console.file = screen
    if not _is_terminal(0):  # the console would ask the streams, which are pipes now, for its size
        with contextlib.suppress(OSError):
            console.size = ConsoleDimensions(*os.get_terminal_size(screen.fileno()))
    for fd in terminals:
        os.dup2(writing, fd)
    os.close(writing)
    reader.start()
    try:
        yield
    finally:
        _flush()
        for fd, terminal in kept.items():
            os.dup2(terminal, fd)
            os.close(terminal)
        reader.join(LAST_SECONDS)
        console.file = stderr
        screen.close()


def _pass_on(reading: int, above: Callable[[Text], None]) -> None:
    with open(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            # The screen was closed after LAST_SECONDS, or the terminal is gone. Reading goes on,
            # because a full pipe would block whoever prints.
            with contextlib.suppress(OSError, ValueError):
                above(Text.from_ansi(line.rstrip("\r\n")))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
