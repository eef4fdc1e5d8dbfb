"""Shows progress: live on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from rich.console import Console, Group
from rich.live import Live
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
from rich.table import Table

from search.number_text import span
from search.progress import Report, SearchProgress
from trials.progress.captured import captured_output
from trials.progress.table import line_of, table_of

LOG_EVERY = 10.0
"""Seconds between the lines of a task in a log."""
TIMES_A_SECOND = 4
PAUSES = 20
"""How many times as long as it takes to look at a search it is then left alone: with thousands of
evaluations, that takes a tenth of a second."""
T = TypeVar("T")
UNSEEN = "the progress of the search cannot be shown, but the search goes on"

stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(line: str) -> None:
    """Write a line to stderr at once, such as what starts or what is waited for."""
    stderr.print(line)


class LiveProgress:
    """Shows the progress of tasks as bars and that of a search as a table, which stays in the end.

    It writes to stderr only; in a notebook, below the cell. In a log, and on a terminal that cannot
    move its cursor, it writes lines.

    Args:
        shown: False shows nothing.
    """

    def __init__(self, shown: bool = True) -> None:
        moves = (stderr.is_terminal and not stderr.is_dumb_terminal) or stderr.is_jupyter
        self._shown, self._draws = shown, shown and moves
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=stderr,
            auto_refresh=False,
        )
        self._search: Callable[[], SearchProgress] | None = None
        self._table: Table | None = None
        self._next_look = -math.inf
        self._unseen = False
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._logged: dict[str, float] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> LiveProgress:
        if self._draws:
            live = Live(
                get_renderable=self._drawn,
                console=stderr,
                refresh_per_second=TIMES_A_SECOND,
                redirect_stdout=stderr.is_jupyter,
                redirect_stderr=stderr.is_jupyter,
                transient=False,
            )
            self._open.callback(stderr.show_cursor)  # whatever else is interrupted
            self._open.enter_context(live)
            # Left first, so that the last lines still appear above.
            self._open.enter_context(captured_output(stderr, stderr.print))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._next_look = -math.inf  # the last table stays
        self._open.close()

    def report(self, name: str) -> Report:
        """See `Progress.report`."""
        return lambda done, total, note: self.update(name, done, total, note)

    def update(self, name: str, done: int, total: int, note: str) -> None:
        """Show how far a task is; its first update adds it."""
        if not self._shown:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
            self._started[name] = (time.monotonic(), done)
        self._bars.update(self._tasks[name], completed=done, note=note)
        if not self._draws and self._due(name, done >= total):
            parts = (f"{name}: {done}/{total}", self._remaining(name, done, total), note)
            stderr.print(" ".join(filter(None, parts)))

    def follow(self, search: Callable[[], SearchProgress]) -> Callable[[str, bool], None]:
        """See `Progress.follow`."""
        self._search = search if self._draws else None

        def measured(study: str, last: bool) -> None:
            if self._shown and not self._draws and self._due(study, last):
                line = self._looked(lambda: line_of(search(), study))
                if line is not None:
                    stderr.print(line)

        return measured

    def say(self, line: str) -> None:
        """See `Progress.say`: a line above the bars."""
        if self._shown:
            stderr.print(line, style=None)

    def fresh(self) -> LiveProgress:
        """A new one without tasks, which shows as much as this one."""
        return LiveProgress(self._shown)

    def _drawn(self) -> Group:
        """All that is shown: running tasks, and the search if there is one."""
        now, search = time.monotonic(), self._search
        if search is not None and now >= self._next_look:
            table = self._looked(lambda: table_of(search(), stderr.width))
            self._table = self._table if table is None else table
            self._next_look = now + PAUSES * (time.monotonic() - now)
        bars = [self._bars.get_renderable()] if self._tasks else []
        return Group(*bars, *([] if self._table is None else [self._table]))

    def _looked(self, make: Callable[[], T]) -> T | None:
        """What shows the search; None after an error, whose reason is said once.

        The error would end the thread that draws, and then the command.
        """
        try:
            return make()
        except Exception as error:
            if not self._unseen:
                self._unseen = True
                reason = " ".join(str(error).split())
                self.say(f"{UNSEEN}: {type(error).__name__}: {reason}")
            return None

    def _due(self, name: str, last: bool) -> bool:
        now = time.monotonic()
        due = last or now - self._logged.get(name, -math.inf) >= LOG_EVERY
        if due:
            self._logged[name] = now
        return due

    def _remaining(self, name: str, done: int, total: int) -> str:
        began, first = self._started[name]
        if done <= first or done >= total:  # nothing was timed yet, or nothing is left
            return ""
        left = (time.monotonic() - began) / (done - first) * (total - done)
        return f"(about {span(left)} left)" if left >= 1 else ""
