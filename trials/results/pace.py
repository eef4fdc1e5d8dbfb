"""How fast a search is at present, and how long the rest of it takes at that pace.

The last evaluations tell it, because those of an hour ago may have had other workers, or another n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from trials.record.kinds import what_is_searched

RECENT = 40
"""The number of evaluations from which the present pace is taken."""


class Ended(NamedTuple):
    """An evaluation that ended.

    Attributes:
        finished: when it ended.
        seconds: how long it took.
        amount: the images that it generated or, where models are trained, its training steps.
    """

    finished: datetime
    seconds: float
    amount: int


class Pace(NamedTuple):
    """How fast evaluations are made.

    Attributes:
        amount: images, or training steps, a second.
        evaluations: a second.
        busy: evaluations at the same time, on average.
    """

    amount: float
    evaluations: float
    busy: float


def pace(session: Iterable[Ended]) -> Pace | None:
    """The pace of the last evaluations of a session; None before they took any time.

    They are timed from the end of the one before them or, if there is none, from their first start.

    Args:
        session: those that ended since the search was started or resumed, in any order; of older
            ones than the last RECENT + 1, none is needed.
    """
    ended = sorted(session)
    last = ended[-RECENT:]
    if not last:
        return None
    starts = [one.finished - timedelta(seconds=one.seconds) for one in last]
    began = ended[-RECENT - 1].finished if len(ended) > RECENT else min(starts)
    elapsed = (last[-1].finished - began).total_seconds()
    if elapsed <= 0:
        return None
    return Pace(
        sum(one.amount for one in last) / elapsed,
        len(last) / elapsed,
        sum(one.seconds for one in last) / elapsed,
    )


def seconds_left(
    at: Pace | None, settings: Mapping[str, Any], evaluations: int, tests: int
) -> float | None:
    """How long the rest of a search takes, if all of its budget is spent.

    Args:
        at: the present pace, of images unless models are trained; None where it is not known.
        settings: of a study of the search.
        evaluations: how many are left to its methods.
        tests: how many are left of the final test.

    Returns:
        Seconds; None where that is not known.
    """
    if at is None:
        return None
    if what_is_searched(settings) != "generation":
        # The trainings take the time: most models of the final test are stored.
        return evaluations / at.evaluations
    search = settings["search"]
    images = evaluations * search["images_per_evaluation"] + tests * search["test_images"]
    return images / at.amount if at.amount else None
