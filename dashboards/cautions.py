"""Warnings about strategies whose images are bad despite their numbers, and notes on anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashboards.input import Anchor, Result
from search.controls import CONSTANT_IMAGE, REAL_IMAGES, best_searched
from search.schedules import SCHEDULES

COLLAPSED = 0.2
"""The share of the real images' variance below which images hardly differ from each other.

Measured with n = 200 to 500: a repeated image has 0, and nearly blank images, the best of a search
with a hardly trained generator of letters, have 0.08. Images of poor generators vary more than real
ones: on digits and letters the rule of thumb has 1.1 to 1.2 and 1.7, the best control 1.1 to 1.2
and 1.8, the best of a search 1.1 and 1.5, and one step 1.5 and 3.4. Even sampling at a temperature
of 0.1 has 1.1 (digits)."""

MEANING = {
    REAL_IMAGES: "newly drawn real images in the place of the generated ones; no generator can be "
    "expected to have a lower value",
    CONSTANT_IMAGE: "one image repeated (black, white or, if it is known, the mean of the real "
    "images, whichever has the lowest value); every generator should have a lower one",
}
UNKNOWN = (
    "their value is unknown here; for the objective images, autonat statistics measures it "
    "together with the reference"
)


def meanings(anchors: Sequence[Anchor]) -> dict[str, str]:
    """Explain the anchors of a table, by name; if real images are missing, say why."""
    found = {name: words for name, words in MEANING.items() if name in {a.name for a in anchors}}
    return {REAL_IMAGES: UNKNOWN} | found if found else {}


def warnings(results: Sequence[Result], anchors: Sequence[Anchor]) -> list[str]:
    """Return sentences that warn of strategies whose images are bad despite their numbers."""
    tested = sorted((r for r in results if math.isfinite(r.value)), key=lambda r: r.value)
    lines = []
    for result in tested:
        if result.spread is not None and result.spread < COLLAPSED:
            whose = (
                "The winner's images" if result is tested[0] else f"The images of {result.label}"
            )
            lines.append(
                f"{whose} hardly differ from each other: the variance of their features is "
                f"{100 * result.spread:.2g} % of that of the real images."
            )
    winner = best_searched(results)
    if winner is not None and (ends := _bounds_reached(winner)):
        lines.append(
            f"The winner of {winner.label} reaches bounds of its search: {'; '.join(ends)}. "
            "A search with wider bounds (--bounds) may find a lower value."
        )
    constants = [anchor.value for anchor in anchors if anchor.name == CONSTANT_IMAGE]
    if constants and tested and tested[0].value >= min(constants):
        lines.append(
            "No strategy here is better than one repeated image: the generator needs more "
            "training, or the search needs more freedom."
        )
    return lines


def _bounds_reached(result: Result) -> list[str]:
    """Describe the bounds that the values of a strategy reach."""
    found = []
    for name, bound in result.bounds.items():
        ends = [SCHEDULES[name].on_bound(value, bound) for value in result.strategy.schedule(name)]
        for end, limit in (("lower", bound.low), ("upper", bound.high)):
            steps = [str(t) for t, reached in enumerate(ends) if reached == end]
            if steps:
                found.append(f"{name} the {end} one, {limit:g}, at t = {', '.join(steps)}")
    return found
