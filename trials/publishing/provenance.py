"""What a report says about itself: where its numbers come from, and whether they are complete."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import datetime

from trials.record.kinds import evaluations_of_one
from trials.record.record import Record
from trials.results.results import MethodResult, versions


def unfinished(
    name: str, results: Sequence[MethodResult], searches: Sequence[Record]
) -> str | None:
    """Say how far a search is that has no final test of a winner yet.

    Args:
        name: of the search.
        results: of its methods.
        searches: the records of its optimisers.

    Returns:
        A sentence with the command that resumes it, or None for a finished search.
    """
    without = [r for r in results if r.searched and math.isnan(r.value)]
    if not without:
        return None
    missing = [r.method for r in without if not r.test_seeds]
    if not missing:
        failed = ", ".join(r.method for r in without)
        return (
            f"The final test of {failed} failed under a seed. autonat search --resume {name} "
            "--retry-failed measures it again"
        )
    done = sum(len(record.evaluations) for record in searches)
    total = sum(evaluations_of_one(record.settings) for record in searches)
    told = [f"{done:,} of {total:,} evaluations are done"]
    told.append(f"no final test of {', '.join(missing)} has a number")
    return f"This search is not finished: {' and '.join(told)}. autonat search --resume {name}"


def unfinished_alternation(name: str, done: int, asked: int) -> str:
    """Say how far an alternation is that is not finished.

    Args:
        name: of the alternation.
        done: its finished rounds.
        asked: the rounds that it was given.
    """
    return (
        f"This alternation is not finished: {done} of {asked} rounds are done. autonat search "
        f"--resume {name}"
    )


def provenance(name: str, searches: Sequence[Record], has_file: bool) -> dict[str, str]:
    """Facts about the origin of a report, by label.

    Args:
        name: of the search.
        searches: the records of its optimisers.
        has_file: whether its best.json is written.
    """
    finished = [e.finished for record in searches for e in record.evaluations]
    facts: dict[str, str] = {}
    if finished:
        facts["evaluations"] = f"{min(finished):%Y-%m-%d %H:%M} to {max(finished):%Y-%m-%d %H:%M}"
    facts["studies"] = ", ".join(record.name for record in searches)
    facts |= common_provenance(f"autonat report {name} --lab LAB")
    if has_file:
        again = "autonat evaluate best.json, which lies beside this report"
        facts["measure its winner again"] = again
    return facts


def common_provenance(command: str) -> dict[str, str]:
    """Facts about the origin of any report, by label.

    Args:
        command: that writes the report again.
    """
    return {
        "report written": f"{datetime.now():%Y-%m-%d %H:%M}",
        "versions here": ", ".join(f"{k} {v}" for k, v in versions().items()),
        "machine here": f"Python {platform.python_version()}, {platform.platform(terse=True)}",
        "write it again": command,
    }
