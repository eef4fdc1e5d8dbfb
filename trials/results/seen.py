"""A search as it is seen while it runs: what it has found so far, how fast it is, and its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from search.controls import RIVALS, START
from search.final_test import FinalTest
from search.progress import Value
from search.strategy import GenerationStrategy
from trials.record.driver import Driver
from trials.record.kinds import SEARCH, TEST, evaluations_of_one, tests_in_all, what_is_searched
from trials.results.announced import Announced
from trials.results.listing import Listed, StudySummary, listed_announced
from trials.results.pace import Pace, pace, seconds_left
from trials.results.progress import controls_measured_first
from trials.results.tally import First, Tally


class Followed(NamedTuple):
    """A study of a record, with what its trials add up to.

    Attributes:
        name: of the study.
        number: of the study in the storage.
        summary: what it says of itself.
        tally: of its trials.
        lowest_error: the standard error of its lowest value.
        controls: what it measured of the start and the controls, by name.
    """

    name: str
    number: int
    summary: StudySummary
    tally: Tally
    lowest_error: float | None
    controls: Mapping[str, Value]


@dataclass(frozen=True)
class MethodSeen:
    """What one method of a search has done so far.

    Attributes:
        method: the name of its optimiser.
        study: the name of its study.
        study_number: the number of its study in the storage.
        evaluations: successful evaluations.
        failed: failed evaluations.
        budgeted: evaluations that its budget pays for.
        best: the lowest value that it saw, which is biased low; None before there is one.
        curve: the images generated and the best value so far, at each improvement, and now.
        test: its final test, or None.
    """

    method: str
    study: str
    study_number: int
    evaluations: int
    failed: int
    budgeted: int
    best: Value | None
    curve: tuple[tuple[int, float], ...]
    test: Value | None


@dataclass(frozen=True, kw_only=True)
class SearchSeen(Listed):
    """A search or an alternation, with what it shows while it runs.

    Attributes:
        studies: its methods, in their order; empty for an alternation.
        test_study: the number of the study of its final test in the storage, or None.
        tested: evaluations of the final test that were made.
        to_test: evaluations of the final test in all.
        best: the lowest final test of its methods, once all are tested; until then the lowest value
            that it saw, which is biased low.
        final: whether its best is of the final test.
        controls: the final tests of its controls, by name.
        seen_controls: the values that the search itself saw of the controls that it measured first,
            by name, which compare with `lowest_value`.
        reasons: why evaluations failed, and how many for each reason, the commonest first.
        driver: the process that runs or prepares it, such as "process 12 on host"; None if there
            is none.
        images_per_second: the present speed; None if it does not run, or is not known yet.
        busy_workers: how many evaluations are made at the same time at present, on average.
        seconds_left: how long it goes on at the present speed.
    """

    studies: tuple[MethodSeen, ...] = ()
    test_study: int | None = None
    tested: int = 0
    to_test: int = 0
    best: Value | None = None
    final: bool = False
    controls: Mapping[str, Value]
    seen_controls: Mapping[str, Value]
    reasons: tuple[tuple[str, int], ...] = ()
    driver: str | None = None
    images_per_second: float | None = None
    busy_workers: float | None = None
    seconds_left: float | None = None


def alternation_seen(
    entry: Listed, driver: Driver | None, halves: Sequence[SearchSeen]
) -> SearchSeen:
    """An alternation, whose searches show the rest.

    Args:
        entry: how it is listed.
        driver: the process that runs it.
        halves: its searches; its values are those of the generation ones.
    """
    running = entry.state == "running"
    generation = [half for half in halves if half.what == "generation"]
    final = any(half.final for half in generation)
    return SearchSeen(
        **vars(entry),
        best=_lowest(half.best for half in generation if half.final == final),
        final=final,
        controls={},
        seen_controls={},
        driver=_in_words(driver) if running else None,
    )


def seen(entry: Listed, studies: Sequence[Followed]) -> SearchSeen:
    """A search from its studies.

    Args:
        entry: how it is listed.
        studies: its studies, at least one.
    """
    running = entry.state == "running"
    searching = [s for s in studies if s.summary.settings["kind"] == SEARCH]
    test = next((s for s in studies if s.summary.settings["kind"] == TEST), None)
    to_test = tests_in_all((studies[0] if test is None else test).summary.settings)
    changing = any(s.summary.retried.since is not None for s in searching)
    if test is not None and test.summary.retried.reopened and changing:
        test = None  # its winners may be others
    tests = {} if test is None else _final_tests(test)
    order = {name: place for place, name in enumerate(entry.methods)}
    methods = sorted(
        (_method(study, tests) for study in searching),
        key=lambda m: order.get(m.method, len(order)),
    )
    settings = studies[0].summary.settings
    tested = 0 if test is None else test.tally.complete + test.tally.failed
    driver = next((s.summary.driver for s in studies if s.summary.driver), None)
    at = _pace(studies, driver) if running else None
    # The final test begins when all methods are done.
    left = sum(max(0, m.budgeted - m.evaluations - m.failed) for m in methods) * (test is None)
    finals = [m.test for m in methods] if tested >= to_test else []
    best, final = _lowest(finals), any(finals)
    return SearchSeen(
        **vars(entry),
        studies=tuple(methods),
        test_study=None if test is None else test.number,
        tested=tested,
        to_test=to_test,
        best=best if final else _lowest(m.best for m in methods),
        final=final,
        controls={name: n for name, n in tests.items() if name in RIVALS},
        seen_controls=_seen_controls(searching),
        reasons=_reasons(studies),
        driver=_in_words(driver) if running else None,
        images_per_second=at and at.amount,
        busy_workers=at and at.busy,
        seconds_left=seconds_left(at, settings, left, to_test - tested),
    )


def with_prepared(
    found: Sequence[SearchSeen], prepared: Mapping[str, tuple[Announced, Driver]]
) -> tuple[SearchSeen, ...]:
    """Searches, and those that are being prepared, of which the new ones have no record yet.

    Args:
        found: the searches of the record.
        prepared: the searches that are being prepared, and their drivers, by name.
    """
    known = {one.name for one in found}
    new = [
        SearchSeen(**vars(listed_announced(one)), controls={}, seen_controls={})
        for name, (one, _) in prepared.items()
        if name not in known
    ]
    by = {name: _in_words(driver) for name, (_, driver) in prepared.items()}
    return tuple(
        replace(one, state="preparing", driver=by[one.name]) if one.name in by else one
        for one in (*new, *found)
    )


def _pace(studies: Iterable[Followed], driver: Driver | None) -> Pace | None:
    """The pace since its driver started."""
    since = "" if driver is None else driver.since
    ended = (one for study in studies for one in study.tally.recent)
    return pace(one for one in ended if one.finished.isoformat(" ", "seconds") >= since)


def _method(study: Followed, tests: Mapping[str, Value]) -> MethodSeen:
    settings, tally = study.summary.settings, study.tally
    name = str(settings["optimiser"])
    best = Value(tally.lowest, study.lowest_error) if math.isfinite(tally.lowest) else None
    end = [] if best is None else [(tally.images, tally.lowest)]
    return MethodSeen(
        method=name,
        study=study.name,
        study_number=study.number,
        evaluations=tally.complete,
        failed=tally.failed,
        budgeted=max(evaluations_of_one(settings), tally.complete + tally.failed),
        best=best,
        curve=(*tally.curve, *end),
        test=tests.get(name),
    )


def _final_tests(test: Followed) -> dict[str, Value]:
    """The finished final tests, by method or control; none while its winners may change."""
    if test.summary.retried.reopened:
        return {}
    search = test.summary.settings["search"]
    found = {}
    for role, values in test.tally.tested.items():
        whole = len(values) == len(search["test_seeds"]) and all(
            map(math.isfinite, values.values())
        )
        if whole:
            stated = test.tally.errors.get(role)
            final = FinalTest.of(values, search["test_images"], 1, stated)
            found[role] = Value(final.value, final.standard_error)
    return found


def _lowest(values: Iterable[Value | None]) -> Value | None:
    known = (value for value in values if value is not None)
    return min(known, key=lambda value: value.value, default=None)


def controls_in(settings: Mapping[str, Any], first: Sequence[First]) -> dict[str, Value]:
    """What the first trials of a study measured of the start and the controls, by name.

    Args:
        settings: of the study.
        first: its first trials.
    """
    if what_is_searched(settings) != "generation":
        starts = [one.value for one in first if one.role == START]
        return {START: starts[0]} if starts else {}
    controls = controls_measured_first(settings)
    found: dict[str, Value] = {}
    for one in first:
        if one.probe < len(controls):
            strategy = GenerationStrategy.from_json(one.strategy)
            same = {name: one.value for name, own in controls.items() if own == strategy}
            found = {**same, **found}
    return found


def _seen_controls(studies: Iterable[Followed]) -> dict[str, Value]:
    """The values of controls that the search measured, of the first method that measured them."""
    found: dict[str, Value] = {}
    for study in studies:
        found = {**study.controls, **found}
    return found


def _reasons(studies: Iterable[Followed]) -> tuple[tuple[str, int], ...]:
    found: dict[str, tuple[str, int]] = {}
    for study in studies:
        for kind, (text, count) in study.tally.reasons.items():
            first, before = found.get(kind, (text, 0))
            found[kind] = (first, before + count)
    return tuple(sorted(found.values(), key=lambda reason: -reason[1]))


def _in_words(driver: Driver | None) -> str | None:
    return None if driver is None else f"process {driver.pid} on {driver.host}"
