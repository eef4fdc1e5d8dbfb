"""Starts the command line. That takes seconds of imports, and Ctrl-C ends those quietly as well."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_SECONDS = 0.1


def main() -> None:
    """Run `autonat`."""
    signal.signal(signal.SIGTERM, interrupt)
    usual, sys.unraisablehook = sys.unraisablehook, interrupt_again
    try:
        from trials.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("autonat: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        sys.unraisablehook = usual


def interrupt(number: int, frame: FrameType | None) -> None:
    """What a scheduler's preemption sends, SIGTERM, ends everything as Ctrl-C does.

    Also where Ctrl-C itself is ignored, as in a batch script's background job: raising SIGINT there
    would do nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # Ray Tune has one of its own while it runs
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def interrupt_again(dropped: UnraisableHookArgs) -> None:
    """An interrupt that met a finaliser, out of which Python lets no exception, comes once more."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)
