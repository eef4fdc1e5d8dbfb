"""The Pareto front of the metric and the forward passes, measured on seeds that no search used.

The values that a search saw are biased low where they were chosen for being low, so they only
select the strategies that are worth measuring. The front is that of the new measurements, which
include those of the final test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from search.final_test import FinalTest
from search.strategy import GenerationStrategy
from trials.record.failures import nothing_measured
from trials.record.kinds import SEARCH, what_is_searched
from trials.record.record import Record
from trials.results.final_tests import final_tests

Measure = Callable[[GenerationStrategy], FinalTest]
"""Measures a strategy.

Raises:
    ValueError: the measurement failed.
"""


@dataclass(frozen=True)
class Candidate:
    """A strategy that may be on the front.

    Attributes:
        found_by: the name of the optimiser or the control.
        strategy: the strategy.
        searched: whether a search found it.
        search_value: the estimate of its search, which is biased low; None for a control.
        search_metric: the name of the metric of `search_value`.
    """

    found_by: str
    strategy: GenerationStrategy
    searched: bool
    search_value: float | None
    search_metric: str = "fid"

    @property
    def forward_passes(self) -> int:
        """Forward passes for each image."""
        return self.strategy.forward_passes()


@dataclass(frozen=True)
class FrontPoint:
    """A strategy that no other measured one beats in both the metric and the forward passes."""

    candidate: Candidate
    test: FinalTest

    def to_json(self) -> dict[str, Any]:
        """The test, and who found the strategy, as JSON values."""
        found = self.candidate
        return {
            **self.test.printed(),
            "search_fid": found.search_value,
            **(
                {}
                if found.search_metric == self.test.metric
                else {"search_metric": found.search_metric}
            ),
            "found_by": found.found_by,
            "searched": found.searched,
            "strategy": found.strategy.to_json(),
        }


def candidates(records: list[Record]) -> list[Candidate]:
    """The strategies that are worth measuring, each once.

    They are each method's winner, the controls, and the front of the values that the searches saw.

    Args:
        records: of one search (see `search_records`).

    Raises:
        ValueError: no evaluation succeeded, or models were trained for the evaluations.
    """
    searches = [record for record in records if record.settings["kind"] == SEARCH]
    for record in searches:
        what = what_is_searched(record.settings)
        if what != "generation":
            raise ValueError(
                f"study {record.name} searched what = {what}, in which every strategy has a model "
                "of its own: a front needs generation strategies on one model"
            )
    winners = [
        Candidate(record.settings["optimiser"], best.strategy, True, best.value, record.metric)
        for record in searches
        if (best := record.best()) is not None
    ]
    seen = _front_seen_by(searches)
    if not seen:
        raise nothing_measured(records[0].settings["search_name"], records)
    known = {c.found_by for c in winners}
    controls = [
        Candidate(name, tested.strategy, False, None, searches[0].metric)
        for name, tested in final_tests(records).items()
        if name not in known
    ]
    distinct = {c.strategy: c for c in reversed([*winners, *controls, *seen])}
    return sorted(distinct.values(), key=lambda c: c.forward_passes)


def tested_already(
    records: list[Record], images: int, seeds: Iterable[int]
) -> dict[GenerationStrategy, FinalTest]:
    """The final tests in these records that have this n and these seeds, by strategy."""
    tests = {t.strategy: t.final_test() for t in final_tests(records).values()}
    return {
        strategy: test
        for strategy, test in tests.items()
        if test is not None and (test.images, test.seeds) == (images, tuple(seeds))
    }


def measured_front(
    found: Iterable[Candidate], measure: Measure
) -> tuple[list[FrontPoint], list[tuple[Candidate, str]]]:
    """Measure candidates, and find the front by rising forward passes and falling values.

    Returns:
        The front, and the candidates whose measurement failed, each with the reason.

    Raises:
        ValueError: every measurement failed; the first reason is named.
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


def _front_seen_by(searches: list[Record]) -> list[Candidate]:
    """The front of the values that the searches saw, averaged over the evaluations of a
    strategy."""
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
            front.append(Candidate(name, strategy, True, fid, searches[0].metric))
            lowest = fid
    return front
