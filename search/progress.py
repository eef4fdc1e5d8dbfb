"""How long-running work reports its progress: to a terminal, a log or a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Report = Callable[[int, int, str], None]
"""Called with the amount done, the total amount, and a note, such as a loss."""

Reports = Callable[[str], Report]
"""Returns the report of a task, given its name."""


class Value(NamedTuple):
    """A value of the metric, and its standard error if that is known."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class MethodProgress:
    """How far a method of a search is, or its final test.

    Attributes:
        study: the name of its study.
        method: the optimiser; None for the final test.
        metric: the name of the metric of its values.
        done: evaluations that ended, including the failed ones.
        failed: how many of them failed.
        total: evaluations that are paid for; fewer are made where a method stops earlier.
        finished: whether nothing more will be measured.
        best: the lowest value so far, which never rises. It is biased low, because it was chosen
            for being low. None before there is one, and for a final test.
        speed: images, or training steps, a second at present; None while unknown.
        left: seconds until it is done, estimated; None while unknown, and when it is finished.
        in_flight: evaluations that are being measured; None where only their driver knows.
    """

    study: str
    method: str | None
    metric: str
    done: int
    failed: int
    total: int
    finished: bool
    best: Value | None = None
    speed: float | None = None
    left: float | None = None
    in_flight: int | None = None


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        name: of the search.
        unit: what a method spends: "images" or "training steps".
        methods: its methods in their order, and its final test.
        controls: the rule of thumb (or the start) and the best control, by name, as the methods
            measured them, with as many images as everything else. Empty before they are measured.
        left: seconds until all methods and the final test are done; None while unknown.
    """

    name: str
    unit: str
    methods: tuple[MethodProgress, ...]
    controls: Mapping[str, Value] = field(default_factory=dict)
    left: float | None = None

    @property
    def done(self) -> int:
        """Evaluations that ended, with those of the final test."""
        return sum(method.done for method in self.methods)

    @property
    def total(self) -> int:
        """Evaluations that are paid for, with those of the final test."""
        return sum(method.total for method in self.methods)


class Progress(Protocol):
    """Shows the progress of named tasks and of a search, and single lines."""

    def report(self, name: str) -> Report:
        """Return the report of the task of that name."""

    def follow(self, search: Callable[[], SearchProgress]) -> Callable[[str, bool], None]:
        """Show a search from now on.

        Args:
            search: returns how far it is; called from any thread.

        Returns:
            A function to be called after each evaluation, with the name of its study and whether it
            is the last one that is paid for.
        """

    def say(self, line: str) -> None:
        """Show a line of information."""
