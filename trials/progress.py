"""Progress of long work: live lines on a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from search.progress import Report

LOG_EVERY = 10.0
"""Seconds between the lines of a task in a log."""

stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(line: str) -> None:
    """Write a line to stderr at once, such as what starts or what is waited for."""
    stderr.print(line)


class LiveProgress:
    """Shows the progress of tasks, with the time left and a note such as the best value so far.

    It writes to stderr only; in a notebook, below the cell.

    Args:
        shown: False shows nothing.
    """

    def __init__(self, shown: bool = True) -> None:
        self._shown, live = shown, stderr.is_terminal or stderr.is_jupyter
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=stderr,
            disable=not (shown and live),
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._logged: dict[str, float] = {}

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def report(self, name: str) -> Report:
        """See `Progress.report`."""
        return lambda done, total, note: self.update(name, done, total, note)

    def update(self, name: str, done: int, total: int, note: str) -> None:
        """Show how far a task is; its first update adds it."""
        if not self._shown:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
            self._started[name] = (time.monotonic(), done - 1)
        self._bars.update(self._tasks[name], completed=done, note=note)
        now = time.monotonic()
        due = now - self._logged.get(name, -math.inf) >= LOG_EVERY or done >= total
        if due and self._bars.disable:
            self._logged[name] = now
            parts = (f"{name}: {done}/{total}", self._remaining(name, done, total), note)
            stderr.print(" ".join(filter(None, parts)))

    def say(self, line: str) -> None:
        """See `Progress.say`: a line above the bars."""
        if self._shown:
            self._bars.console.print(line, style=None)

    def fresh(self) -> LiveProgress:
        """A new one without tasks, which shows as much as this one."""
        return LiveProgress(self._shown)

    def _remaining(self, name: str, done: int, total: int) -> str:
        began, first = self._started[name]
        if done - first <= 1:  # nothing was timed yet
            return ""
        rate = (time.monotonic() - began) / (done - first)
        return f"({rate * (total - done):.0f} s left)"
