"""The strategies that a search had found before its end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from search.strategy import GenerationStrategy
from trials.record.record import Record


def earlier_results(
    record: Record, marks: Sequence[float]
) -> Iterator[tuple[int, GenerationStrategy]]:
    """Yield (images, the strategy of the lowest single value) at each mark, and then the result.

    The earlier ones are chosen without re-tests, with which a shorter search would have ended.

    Args:
        record: of the search.
        marks: growing numbers of images.
    """
    used, lowest, best, left = 0, math.inf, None, list(marks)
    for done in record.evaluations:
        if left and used + done.images > left[0]:
            left.pop(0)
            if best is not None:
                yield used, best
        used += done.images
        if done.measurement and not done.stopped and done.measurement.value < lowest:
            lowest, best = done.measurement.value, done.probe.strategy
    final = record.best()
    if final is not None:
        yield used, final.strategy
