"""Failed evaluations: the reasons, their counts, and when a search should stop because of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trials.record.evaluation import Evaluation
from trials.record.record import Record


@dataclass(frozen=True)
class Reason:
    """A reason for which evaluations failed.

    Attributes:
        text: the reason as the first of them stated it.
        count: how many evaluations failed for it.
    """

    text: str
    count: int


def reasons(evaluations: Iterable[Evaluation]) -> list[Reason]:
    """The reasons of failed evaluations, the commonest first.

    Reasons that differ only in numbers count as one.
    """
    found: dict[str, list[str]] = {}
    for evaluation in evaluations:
        if evaluation.measurement is None:
            found.setdefault(without_numbers(evaluation.reason), []).append(evaluation.reason)
    grouped = [Reason(texts[0], len(texts)) for texts in found.values()]
    return sorted(grouped, key=lambda reason: -reason.count)


def nothing_measured(name: str, records: Iterable[Record]) -> ValueError:
    """The error of a search in which no evaluation succeeded, with the reason of the first
    failure."""
    done = [evaluation for record in records for evaluation in record.evaluations]
    failed = [evaluation.reason for evaluation in done if evaluation.measurement is None]
    why = f"; the first failed with: {failed[0]}" if failed else ""
    return ValueError(f"search {name}: none of its {len(done)} evaluations has succeeded{why}")


class FailureWatch:
    """Reports each new reason of failures once, and ends a search that keeps failing.

    Args:
        name: of the search.
        limit: how many failures in a row, for the same reason, end the search.
        say: called with a line.
    """

    def __init__(self, name: str, limit: int, say: Callable[[str], None]) -> None:
        self._name, self._limit, self._say = name, limit, say
        self._said: set[str] = set()
        self._last, self._in_a_row = "", 0

    def saw(self, record: Record) -> None:
        """Take note of the last evaluation of a record, which is new.

        Raises:
            ValueError: it was one failure too many.
        """
        last = record.evaluations[-1]
        if last.measurement is not None:
            self._in_a_row = 0
            return
        kind = without_numbers(last.reason)
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


def without_numbers(reason: str) -> str:
    """A reason without the words that hold numbers: times, sizes, addresses."""
    return re.sub(r"\S*\d\S*", "#", reason)
