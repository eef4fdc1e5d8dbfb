"""How long-running work reports its progress: to a terminal, a log or a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Report = Callable[[int, int, str], None]
"""Called with the amount done, the total amount, and a note, such as a loss."""

Reports = Callable[[str], Report]
"""Returns the report of a task, given its name."""


class Progress(Protocol):
    """Shows the progress of named tasks, and single lines."""

    def report(self, name: str) -> Report:
        """Return the report of the task of that name."""

    def say(self, line: str) -> None:
        """Show a line of information."""
