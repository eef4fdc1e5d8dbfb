"""Who runs a study, as the record says it."""

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
    """Who runs a study.

    Attributes:
        host: its name.
        pid: its process there.
        since: when it began, in words.
        seen: its last sign of life, in seconds since 1970.
        token: that no other driver has.
    """

    host: str
    pid: int
    since: str
    seen: float
    token: str

    def alive(self) -> bool:
        """Whether it still runs, as far as one can tell from here."""
        if self.host == socket.gethostname():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass
        return time.time() - self.seen < STALE
