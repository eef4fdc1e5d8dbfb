"""Starts the command line. That takes seconds of imports, and Ctrl-C ends those quietly as well."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run `autonat`."""
    # What a scheduler's preemption sends ends everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        from trials.cli import main as run

        run()
    except KeyboardInterrupt:
        print("autonat: interrupted", file=sys.stderr)
        sys.exit(130)
