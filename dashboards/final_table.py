"""The rows of the table of final tests, as text with equal decimals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.formatting import common_decimals, decimals_seen, difference, gigaflops, with_error
from dashboards.input import Anchor, Result
from search.controls import best_searched, or_last
from search.measurement import metric_label


def ranked_by_value(named: Mapping[str, Result]) -> list[tuple[str, Result]]:
    """Sort the results by value, lowest first; results without a number are last."""
    return sorted(named.items(), key=lambda item: or_last(item[1].value))


def winners_of_searches(results: Sequence[Result]) -> list[Result]:
    """Return the searched result with the lowest value of each search."""
    of: dict[str, list[Result]] = {}
    for result in results:
        if result.searched:
            of.setdefault(result.label.removesuffix(result.method), []).append(result)
    return [best for found in of.values() if (best := best_searched(found)) is not None]


def final_rows(
    named: Mapping[str, Result], colour: Mapping[str, str], anchors: Sequence[Anchor]
) -> list[dict[str, Any]]:
    """Make the rows of the final table, sorted by value, anchors included."""
    decimals = common_decimals(named.values())
    ranked = ranked_by_value(named)
    rows = [
        (r.value, _row(r, ranked[0][1], colour[label], decimals) | {"search_fid": _seen(r, named)})
        for label, r in ranked
    ]
    rows += [
        (a.value, {"anchor": True, "label": a.label, "fid": with_error(a.value, None, decimals)})
        for a in anchors
    ]
    return [row for _, row in sorted(rows, key=lambda row: or_last(row[0]))]


def _seen(result: Result, named: Mapping[str, Result]) -> str:
    """What the search of a result saw, with its metric where the searches have several."""
    if result.search_value is None:
        return ""
    metrics = {r.search_metric for r in named.values() if r.searched}
    decimals = decimals_seen(named.values(), result.search_metric)
    unit = f" {metric_label(result.search_metric)}" if len(metrics) > 1 else ""
    return with_error(result.search_value, None, decimals) + unit


def _row(result: Result, best: Result, colour: str, decimals: int) -> dict[str, Any]:
    """Make a row of the final table, with numbers as text."""
    failed = int((result.evaluations["state"] == "FAIL").sum()) if result.searched else 0
    return {
        "anchor": False,
        "label": result.label,
        "training": "" if result.training is None else str(result.training),
        "colour": colour,
        "steps": result.strategy.steps,
        "kind": "search" if result.searched else "control",
        "fid": with_error(result.value, result.standard_error, decimals),
        "difference": difference(result, best, decimals),
        "best": result is best and math.isfinite(best.value),
        "evaluations": f"{len(result.evaluations):,}" if result.searched else "",
        "failed": f"({failed:,} failed)" if failed else "",
        "images": f"{result.images:,}" if result.searched else "",
        "forward_passes": result.forward_passes,
        "gigaflops": gigaflops(result.flops),
        "seconds": f"{result.seconds:,.0f}" if result.searched else "",
    }
