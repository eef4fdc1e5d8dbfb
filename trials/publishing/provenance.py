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


def provenance(name: str, searches: Sequence[Record]) -> dict[str, str]:
    """Facts about the origin of a report, by label.

    Args:
        name: of the search.
        searches: the records of its optimisers.
    """
    finished = [e.finished for record in searches for e in record.evaluations]
    facts: dict[str, str] = {}
    if finished:
        facts["evaluations"] = f"{min(finished):%Y-%m-%d %H:%M} to {max(finished):%Y-%m-%d %H:%M}"
    facts["studies"] = ", ".join(record.name for record in searches)
    facts |= common_provenance(f"autonat report {name} --lab LAB")
    facts["measure its winner again"] = "autonat evaluate best.json, which lies beside this report"
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
