"""Measures evaluations of small models several at once, for `benchmarks.gpu`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

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
    digits = DigitsObjective(training_steps=10 if bench.small else 100)
    plans: list[tuple[str, NATObjective, int, str]] = [("digits", digits, 500, "float32")]
    if not bench.small:
        letters = LettersObjective(size="large", precision="bfloat16")
        plans.append(("letters", letters, 1_000, "bfloat16"))
    for name, objective, n, precision in plans:
        objective.prepare(bench.folder, quiet)
        strategies = _neighbours(2 if bench.small else 8, 3 if bench.small else 16)
        first = None
        alone: list[Measurement] = []
        for count in (1, 3) if bench.small else (1, 4, 16):
            found: list[Measurement] = []
            way = functools.partial(_measure, objective, strategies, count, n, found)
            times = timed(way, 1 if bench.small else 3)
            each = [seconds / len(strategies) for seconds in times]
            what = f"{name}, n = {n:,}, {precision}, {count} at once"
            row = milliseconds("together", what, each, first)
            first, alone = first or row.value, alone or found[-len(strategies) :]
            _require_equal(what, found[-len(strategies) :], alone)
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
