"""The words of the live page: what a search is, how far it is, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dashboards.live.input import Search
from search.controls import BASELINES, start_and_best
from search.measurement import metric_label
from search.number_text import span, with_error
from search.progress import Value


class Fact(NamedTuple):
    """A number of a search: what it is, the number, and a remark."""

    name: str
    number: str
    remark: str


def what_it_is(search: Search) -> str:
    """Say what is searched: "digits, T = 8, generation, part of whole"."""
    half = "" if search.alternation is None else f", part of {search.alternation}"
    return f"{search.objective}, T = {search.steps}, {search.what}{half}"


def how_far(search: Search) -> str:
    """Say how far a search is, and how fast."""
    done = search.evaluations + search.failed
    parts = [f"{done:,} of {search.budgeted:,} evaluations"]
    if search.tested:
        parts.append(f"final test {search.tested} of {search.to_test}")
    if search.images_per_second:
        speed = search.images_per_second
        parts.append(f"{speed:,.0f} images/s" if speed >= 10 else f"{speed:.2g} images/s")
    if search.busy_workers is not None:
        busy = max(1, round(search.busy_workers))
        parts.append(f"{busy:,} worker{'s' * (busy > 1)} busy")
    if search.seconds_left is not None:
        parts.append(f"about {span(search.seconds_left)} left")
    return " · ".join(parts)


def progress(search: Search) -> tuple[int, int]:
    """Return the evaluations that were made, and all of them, with those of the final test."""
    whole = search.budgeted + search.to_test
    if search.state == "done":
        return whole, whole
    return min(search.evaluations + search.failed, search.budgeted) + search.tested, whole


def facts(search: Search) -> list[Fact]:
    """Return the best number, and the rule of thumb and the best control beside it.

    Until all methods are tested they are numbers of the search, all with the same n; the best of
    them is chosen for being low.
    """
    found = search.best
    if found is None:
        return []
    controls: Mapping[str, Value] = search.controls if search.final else search.seen_controls
    values = {m.method: m.test if search.final else m.best for m in search.studies}
    by = [name for name, value in values.items() if value == found][:1]  # none in an alternation
    remark = ", ".join([*by, "final test" if search.final else "lowest in the search"])
    shown = [Fact(f"best {best_metric(search)}", number(found), remark)]
    for place, (name, value) in enumerate(start_and_best(controls).items()):
        rule = place == 0 and name in BASELINES
        label, remark = (name, "") if rule else ("best control", name)
        shown.append(Fact(label, number(value), remark))
    return shown


def best_metric(search: Search) -> str:
    """Return the label of the metric of a search's best number."""
    return metric_label(search.test_metric if search.final else search.metric)


def number(value: Value | None) -> str:
    """Format a value with its error; nothing if there is none."""
    return "" if value is None else with_error(value.value, value.standard_error)


def counted(search: Search) -> str:
    """Count searches' failures: "3 failed", or nothing."""
    return f"{search.failed:,} failed" if search.failed else ""
