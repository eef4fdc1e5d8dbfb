"""The Pareto front of FID and forward passes, measured on seeds that no search saw.

What a search saw of a strategy was often chosen for being low, so it only says who is worth
measuring. The front is then that of what was measured, the final test's own strategies included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from search.strategy import GenerationStrategy
from search.strategy_file import FinalTest
from trials.record.failures import nothing_measured
from trials.record.kinds import SEARCH, what_is_searched
from trials.record.record import Record
from trials.results.final_tests import final_tests

Measure = Callable[[GenerationStrategy], FinalTest]
"""Measures a strategy.

Raises:
    ValueError: its FID is not finite.
"""


@dataclass(frozen=True)
class Candidate:
    """A strategy that may be on the front.

    Attributes:
        found_by: the optimiser, or the control's name.
        strategy: it.
        searched: whether a search found it.
        search_value: what its search believes of it, chosen for being low; None for a control.
    """

    found_by: str
    strategy: GenerationStrategy
    searched: bool
    search_value: float | None

    @property
    def forward_passes(self) -> int:
        """An image."""
        return self.strategy.forward_passes()


@dataclass(frozen=True)
class FrontPoint:
    """A strategy that no other of those measured beats in both FID and forward passes."""

    candidate: Candidate
    test: FinalTest

    def to_json(self) -> dict[str, Any]:
        """The test, and whose the strategy is."""
        found = self.candidate
        return {
            **self.test.printed(),
            "search_fid": found.search_value,
            "found_by": found.found_by,
            "searched": found.searched,
            "strategy": found.strategy.to_json(),
        }


def candidates(records: list[Record]) -> list[Candidate]:
    """Who is worth measuring: each method's winner, the controls, and the front of what the
    searches saw; each strategy once.

    Args:
        records: of one search (see `search_records`).

    Raises:
        ValueError: nothing was measured, or models were trained for the evaluations.
    """
    searches = [record for record in records if record.settings["kind"] == SEARCH]
    for record in searches:
        what = what_is_searched(record.settings)
        if what != "generation":
            raise ValueError(
                f"study {record.name} searched what = {what}, where every strategy has a model of "
                "its own: a front is of generation strategies on one model"
            )
    winners = [
        Candidate(record.settings["optimiser"], best.strategy, True, best.value)
        for record in searches
        if (best := record.best()) is not None
    ]
    believed = _believed_front(searches)
    if not believed:
        raise nothing_measured(records[0].settings["search_name"], records)
    known = {c.found_by for c in winners}
    controls = [
        Candidate(name, tested.strategy, False, None)
        for name, tested in final_tests(records).items()
        if name not in known
    ]
    distinct = {c.strategy: c for c in reversed([*winners, *controls, *believed])}
    return sorted(distinct.values(), key=lambda c: c.forward_passes)


def tested_already(
    records: list[Record], images: int, seeds: Iterable[int]
) -> dict[GenerationStrategy, FinalTest]:
    """What the final test of these records says, where it has this n and these seeds."""
    tests = {t.strategy: t.final_test() for t in final_tests(records).values()}
    return {
        strategy: test
        for strategy, test in tests.items()
        if test is not None and (test.images, test.seeds) == (images, tuple(seeds))
    }


def measured_front(
    found: Iterable[Candidate], measure: Measure
) -> tuple[list[FrontPoint], list[tuple[Candidate, str]]]:
    """The front of what is measured, by rising forward passes and falling FID.

    Returns:
        The front, and the candidates that have no number, with the reason.

    Raises:
        ValueError: no candidate has one; the first one's reason is said.
    """
    points, failed = [], []
    for candidate in found:
        try:
            points.append(FrontPoint(candidate, measure(candidate.strategy)))
        except ValueError as error:
            failed.append((candidate, str(error)))
    if failed and not points:
        first, reason = failed[0]
        raise ValueError(
            f"none of the {len(failed)} strategies that may be on the front could be measured; the "
            f"first, of {first.found_by}, failed with: {reason}"
        )
    front: list[FrontPoint] = []
    for point in sorted(points, key=lambda p: (p.candidate.forward_passes, p.test.value)):
        if not front or point.test.value < front[-1].test.value:
            front.append(point)
    return front, failed


def _believed_front(searches: list[Record]) -> list[Candidate]:
    """The front of the means over the searches' evaluations of each strategy."""
    fids: dict[tuple[str, GenerationStrategy], list[float]] = {}
    for record in searches:
        for done in record.evaluations:
            if done.measurement is not None and not done.stopped:
                key = (record.settings["optimiser"], done.probe.strategy)
                fids.setdefault(key, []).append(done.measurement.value)
    means = [
        (strategy.forward_passes(), math.fsum(found) / len(found), name, strategy)
        for (name, strategy), found in fids.items()
    ]
    front: list[Candidate] = []
    lowest = math.inf
    for _, fid, name, strategy in sorted(means, key=lambda mean: mean[:2]):
        if fid < lowest:
            front.append(Candidate(name, strategy, True, fid))
            lowest = fid
    return front
