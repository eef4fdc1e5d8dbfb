"""Measures evaluations of small models several at once, for `benchmarks.gpu`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.gpu_bench import quiet
from benchmarks.gpu_rows import Bench, Row, milliseconds, timed
from search.controls import published
from search.measurement import Measurement
from search.strategy import GenerationStrategy
from trials.objectives.digits import DigitsObjective
from trials.objectives.letters.objective import LettersObjective
from trials.objectives.nat_objective import NATObjective


def together(bench: Bench) -> Iterator[Row]:
    """Compare several evaluations at once with the same ones one by one, in milliseconds each.

    Raises:
        RuntimeError: an FID differs by more than its standard error.
    """
    if not bench.small:
        ways = {compiled: _letters(compiled) for compiled in (False, True)}
        counts = [(1, False), (8, False), (1, True), (8, True)]
        yield from _compared("letters, n = 1,000, bfloat16", ways, counts, 1_000, bench)
    digits: dict[bool, NATObjective] = {False: DigitsObjective(training_steps=10)}
    counts = [(1, False), (3, False)] if bench.small else [(1, False), (16, False)]
    yield from _compared("digits, n = 500, float32", digits, counts, 500, bench)


def _letters(compiled: bool) -> NATObjective:
    return LettersObjective(size="large", precision="bfloat16", compiled=compiled)


def _compared(
    name: str,
    ways: Mapping[bool, NATObjective],
    counts: Sequence[tuple[int, bool]],
    n: int,
    bench: Bench,
) -> Iterator[Row]:
    """Rows for numbers of evaluations at once, and whether forward passes are compiled."""
    strategies = _neighbours(2 if bench.small else 8, max(count for count, _ in counts))
    first = None
    alone: dict[bool, list[Measurement]] = {}
    for objective in ways.values():
        objective.prepare(bench.folder, quiet)
    for count, compiled in counts:
        found: list[Measurement] = []
        way = functools.partial(_measure, ways[compiled], strategies, count, n, found)
        times = timed(way, 1 if bench.small else 3)
        each = [seconds / len(strategies) for seconds in times]
        what = f"{name}{', compiled' if compiled else ''}, {count} at once"
        row = milliseconds("together", what, each, first)
        first, last = first or row.value, found[-len(strategies) :]
        _require_equal(what, last, alone.setdefault(compiled, last))
        yield row


def _neighbours(steps: int, count: int) -> list[GenerationStrategy]:
    """Strategies around the published one, as the probes of a gradient are."""
    start = published(steps)
    found = []
    for number in range(count):
        warmth = [value * (1 + number / 100) for value in start.sampling_temperature]
        found.append(start.with_values({"sampling_temperature": warmth}))
    return found


def _measure(
    objective: NATObjective,
    strategies: Sequence[GenerationStrategy],
    count: int,
    n: int,
    found: list[Measurement],
) -> None:
    for first in range(0, len(strategies), count):
        some = strategies[first : first + count]
        if count == 1:
            found.append(objective.evaluate(some[0], n, 1))
        else:
            found.extend(objective.evaluate_together(some, n, [1] * len(some)))


def _require_equal(what: str, found: list[Measurement], alone: list[Measurement]) -> None:
    for one, other in zip(found, alone, strict=True):
        if abs(one.value - other.value) > (other.standard_error or 0.0):
            raise RuntimeError(f"{what}: FID {one.value}, by itself {other.value}")
