"""Numbers as people read them: with their standard errors, and as spans of time."""

from __future__ import annotations

import math

MINUTE, HOUR, DAY = 60, 3600, 86400


def with_error(value: float, error: float | None, decimals: int | None = None) -> str:
    """Format a number with its standard error.

    Args:
        value: the number.
        error: its standard error, or None.
        decimals: of both, so that the numbers of a column have equal ones; by default as many as
            show the second digit of the error.
    """
    if not math.isfinite(value):
        return "no number"
    if error is None or not 0 < error < math.inf:
        return f"{value:#.4g}".rstrip(".") if decimals is None else f"{value:,.{decimals}f}"
    digits = error_decimals(error) if decimals is None else decimals
    return f"{value:,.{digits}f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{error:,.{digits}f}"


def error_decimals(error: float) -> int:
    """Return the number of decimals that show an error > 0 to its second digit."""
    return max(0, 1 - math.floor(math.log10(error)))


def span(seconds: float) -> str:
    """Format a span of time in its one or two largest units: "40 s", "3 min", "2 h 10 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 100 * MINUTE:
        return f"{round(seconds / MINUTE)} min"
    if seconds < 2 * DAY:
        hours, minutes = divmod(round(seconds / MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / HOUR), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
