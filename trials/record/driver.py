"""The driver of a study: the process that runs it, as the record names it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Self

ATTRIBUTE = "driver"
BEAT = 5.0
"""Seconds between two signs of life."""
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

    @classmethod
    def here(cls) -> Self:
        """This process, from now on."""
        since = datetime.now().isoformat(" ", "seconds")
        return cls(socket.gethostname(), os.getpid(), since, time.time(), uuid.uuid4().hex)

    def refusal(self, what: str, does: str = "has been running") -> ValueError:
        """The error of whoever wants to touch what this driver has in hand.

        Args:
            what: in words, such as "search first".
            does: what happens to it, such as "has been in preparation".
        """
        line = f"{what} {does} in process {self.pid} on {self.host} since {self.since}"
        if self.host == socket.gethostname():
            return ValueError(f"{line}; interrupt it first, or wait for its end")
        return ValueError(
            f"{line}; if that process died, it can be taken over {STALE:.0f} s after its last sign"
        )

    def alive(self) -> bool:
        """Whether the process still runs, as far as this machine and its clock can tell."""
        return not self.gone() and time.time() - self.seen < STALE

    def ahead(self) -> bool:
        """Whether its clock runs ahead of this machine's, so that it may long be dead."""
        return self.seen - time.time() > STALE

    def gone(self) -> bool:
        """Whether it is certain that the process does not run: it was one of this machine."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False
