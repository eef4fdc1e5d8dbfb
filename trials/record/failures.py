"""Evaluations that fail: of what, how often, and when a search had better stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trials.record.evaluation import Evaluation
from trials.record.record import Record


@dataclass(frozen=True)
class Reason:
    """Why evaluations failed.

    Attributes:
        text: of the first of them.
        count: how many failed of it.
    """

    text: str
    count: int


def reasons(evaluations: Iterable[Evaluation]) -> list[Reason]:
    """What evaluations failed of, the commonest first; those that differ in numbers are one."""
    found: dict[str, list[str]] = {}
    for evaluation in evaluations:
        if evaluation.measurement is None:
            found.setdefault(_kind(evaluation.reason), []).append(evaluation.reason)
    grouped = [Reason(texts[0], len(texts)) for texts in found.values()]
    return sorted(grouped, key=lambda reason: -reason.count)


def nothing_measured(name: str, records: Iterable[Record]) -> ValueError:
    """Says of a search that no evaluation has succeeded, and why the first did not."""
    done = [evaluation for record in records for evaluation in record.evaluations]
    failed = [evaluation.reason for evaluation in done if evaluation.measurement is None]
    why = f"; the first failed with: {failed[0]}" if failed else ""
    return ValueError(f"search {name}: none of its {len(done)} evaluations has succeeded{why}")


class FailureWatch:
    """Says what an evaluation failed of, once for each reason, and ends a search in which nothing
    else happens any more.

    Args:
        name: of the search.
        limit: failures in a row of one reason that end it.
        say: called with a line.
    """

    def __init__(self, name: str, limit: int, say: Callable[[str], None]) -> None:
        self._name, self._limit, self._say = name, limit, say
        self._said: set[str] = set()
        self._last, self._in_a_row = "", 0

    def saw(self, record: Record) -> None:
        """The last evaluation of a record is new.

        Raises:
            ValueError: it was one failure too many.
        """
        last = record.evaluations[-1]
        if last.measurement is not None:
            self._in_a_row = 0
            return
        kind = _kind(last.reason)
        if kind not in self._said:
            self._said.add(kind)
            self._say(f"{record.name}: evaluation {last.number} failed: {last.reason}")
        self._in_a_row = self._in_a_row + 1 if kind == self._last else 1
        self._last = kind
        if self._in_a_row >= self._limit:
            raise ValueError(
                f"search {self._name} stopped after {self._in_a_row} failures in a row "
                f"(max_failures_in_a_row), the last with: {last.reason}; what was measured is "
                f"kept, and --resume {self._name} --retry-failed measures again what failed"
            )


def _kind(reason: str) -> str:
    """A reason without what is a number, or holds one: times, sizes, addresses."""
    return re.sub(r"\S*\d\S*", "#", reason)
