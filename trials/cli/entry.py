"""Starts the command line, whose imports take seconds: Ctrl-C ends them without a traceback."""

from __future__ import annotations

import atexit
import gc
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
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it ignored
        signal.signal(signal.SIGHUP, interrupt)
    # Else Python searches all that was imported for garbage before it ends, which takes seconds.
    atexit.register(gc.freeze)
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
    """Handle SIGTERM, which a cluster sends to preempt a job, and SIGHUP, which a terminal sends
    when it vanishes, like Ctrl-C.

    This also works where Ctrl-C itself is ignored, as in a background job of a batch script: there,
    raising SIGINT would do nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # Ray Tune has one of its own while it runs
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def interrupt_again(dropped: UnraisableHookArgs) -> None:
    """Repeat an interrupt that was lost where Python raises no exception.

    That is in a finaliser, and in what runs after a fork. While Ray starts, SIGTERM raises
    SystemExit, and Ray ignores a second one, so the handler is ours again.
    """
    lost = isinstance(dropped.exc_value, KeyboardInterrupt | SystemExit)
    if lost and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)
