"""What a number is worth: what must be said of strategies whose images are hardly worth looking at,
and what the anchors beside them are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashboards.input import Anchor, Result
from search.controls import CONSTANT_IMAGE, REAL_IMAGES

COLLAPSED = 0.2
"""Of the real images' variance: below it images hardly differ from each other. Measured (n = 200 to
500): one image again and again has 0; a nearly blank page, a search's best on hardly trained
letters, 0.08. What poor generators make varies more than real images: the rule of thumb has 1.1 to
1.2 on digits and 1.7 on letters, the best control 1.1 to 1.2 and 1.8, a search's best 1.1 and 1.5,
one step 1.5 and 3.4, and even sampling at a temperature of 0.1 (digits) 1.1."""

MEANING = {
    REAL_IMAGES: "as many as the test's, drawn anew; no generator can be expected below",
    CONSTANT_IMAGE: "one again and again (black, white or, where it is known, the real images' "
    "mean, whichever is lowest); no generator should be above",
}
UNKNOWN = (
    "what they have is not known here; of the objective images, autonat statistics measures it "
    "together with the reference"
)


def meanings(anchors: Sequence[Anchor]) -> dict[str, str]:
    """What the anchors of a table are, by name, and why real images are not among them."""
    found = {name: words for name, words in MEANING.items() if name in {a.name for a in anchors}}
    return {REAL_IMAGES: UNKNOWN} | found if found else {}


def warnings(results: Sequence[Result], anchors: Sequence[Anchor]) -> list[str]:
    """What must be said of strategies whose images are hardly worth looking at, in sentences."""
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
    constants = [anchor.value for anchor in anchors if anchor.name == CONSTANT_IMAGE]
    if constants and tested and tested[0].value >= min(constants):
        lines.append(
            "No strategy here is better than one image again and again: the generator needs more "
            "training, or the search more freedom."
        )
    return lines
