"""The driver of a study: the process that runs it, as the record names it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

ATTRIBUTE = "driver"
STALE = 60.0
"""Seconds without a sign of life after which a driver counts as dead."""


@dataclass(frozen=True)
class Driver:
    """The process that runs a study.

    Attributes:
        host: the name of its machine.
        pid: the process id on that machine.
        since: when it started, as local time in ISO format.
        seen: when it last wrote a sign of life, in seconds since 1970.
        token: a random text that no other driver has.
    """

    host: str
    pid: int
    since: str
    seen: float
    token: str

    def alive(self) -> bool:
        """Whether the process still runs, as far as this machine can tell."""
        if self.host == socket.gethostname():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass
        return time.time() - self.seen < STALE
