"""Formats numbers for tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dashboards.input import Result
from search.number_text import error_decimals
from search.number_text import with_error as with_error

ERRORS = {
    "seeds": "± the standard error of the mean over the seeds",
    "measurement": "± of one seed: the standard error that the measurement itself gives",
}
"""Explanations of a final test's standard error, by its source."""


def common_decimals(results: Iterable[Result]) -> int:
    """Return how many decimals a column of values needs: those that the lowest value needs.

    They show the second digit of its standard error or, where that is unknown, four digits.
    """
    finite = [r for r in results if math.isfinite(r.value)]
    if not finite:
        return 2
    best = min(finite, key=lambda r: r.value)
    if best.standard_error:
        return error_decimals(best.standard_error)
    return max(0, 3 - math.floor(math.log10(abs(best.value)))) if best.value else 3


def decimals_seen(results: Iterable[Result], metric: str) -> int:
    """Return how many decimals the values need that searches saw in a metric.

    They are those of its final tests if it has any, else those that show four digits of the lowest.
    """
    found = list(results)
    if any(r.metric == metric for r in found):
        return common_decimals(r for r in found if r.metric == metric)
    seen = [abs(r.search_value) for r in found if r.search_metric == metric and r.search_value]
    return max(0, 3 - math.floor(math.log10(min(seen)))) if seen else 3


def gigaflops(flops: int | None) -> str:
    """Format floating-point operations in units of 1e9."""
    return "" if flops is None else f"{flops / 1e9:,.3g}"


def difference(result: Result, best: Result, decimals: int | None = None) -> str:
    """Say how far a result is above the best one, and whether that is inside the noise.

    Args:
        result: the result.
        best: the lowest one.
        decimals: of the difference; by default as many as show the second digit of its error.
    """
    gap = result.value - best.value
    if not math.isfinite(gap):
        return "–"
    if result is best:
        return "best"
    combined = combined_error(result, best)
    if not combined:  # unknown, or 0 where the tests are exact
        text = f"+{gap:.3g}" if decimals is None else f"+{gap:,.{decimals}f}"
        return text if combined == 0 else text + ", error unknown"
    noise = ", inside the noise" if is_noise(gap, combined) else ""
    return f"+{gap:,.{error_decimals(combined) if decimals is None else decimals}f}{noise}"


def combined_error(one: Result, other: Result) -> float | None:
    """Return the standard error of the difference of two results, sqrt(se_1^2 + se_2^2).

    Returns:
        The error, or None if one of the two is unknown.
    """
    if one.standard_error is None or other.standard_error is None:
        return None
    return math.hypot(one.standard_error, other.standard_error)


def is_noise(gap: float, combined: float | None) -> bool:
    """Whether a difference is inside the noise: within two combined standard errors."""
    return combined is not None and abs(gap) <= 2 * combined


def describe_tests(results: Iterable[Result]) -> list[str]:
    """Describe the final tests of the results, and the sources of their standard errors.

    In a fair comparison there is only one.
    """
    found: dict[tuple[int, tuple[int, ...]], set[str | None]] = {}
    for r in results:
        if not r.test_seeds:  # it is not tested yet
            continue
        found.setdefault((r.test_images, r.test_seeds), set()).add(r.standard_error_from)
    return [
        f"n = {n:,} images per seed, seed{'s' * (len(seeds) != 1)} "
        + ", ".join(str(s) for s in seeds)
        + "".join(f"; {ERRORS[kind]}" for kind in ERRORS if kind in kinds)
        for (n, seeds), kinds in found.items()
    ]
