"""How long work says how far it is: to a terminal, a log or a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Report = Callable[[int, int, str], None]
"""Called with what is done, of how much, and a note, such as a loss."""

Reports = Callable[[str], Report]
"""From the name of a task to its report."""


class Progress(Protocol):
    """Shows tasks, which have names, and lines."""

    def report(self, name: str) -> Report:
        """The report of the task of that name."""

    def say(self, line: str) -> None:
        """Show a line: what begins, or what somebody should know."""
