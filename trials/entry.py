"""Starts the command line. That takes seconds of imports, and Ctrl-C ends those quietly as well."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> None:
    """Run `autonat`."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        from trials.cli import main as run

        run()
    except KeyboardInterrupt:
        print("autonat: interrupted", file=sys.stderr)
        sys.exit(130)


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
