"""What stands beside the FIDs of a search, so that they can be judged: what real images have, and
one image for ever; and whether a strategy's images are a collapse into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trials.objectives.objective import CONSTANT_IMAGE, REAL_IMAGES, Anchors, Objective
from trials.record.record import Record
from trials.results.results import MethodResult

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


@dataclass(frozen=True)
class Anchor:
    """The FID of something that needs no generator, under a search's own protocol.

    Attributes:
        name: REAL_IMAGES or CONSTANT_IMAGE.
        value: its FID.
        images: n, as the final test has it.
        search: the name of its search, where several are compared and differ in it.
    """

    name: str
    value: float
    images: int
    search: str | None = None

    @property
    def label(self) -> str:
        """The name, with its search where several are compared."""
        return self.name if self.search is None else f"{self.search}/{self.name}"


def note_anchors(records: list[Record], objective: Objective) -> None:
    """Measure them, once a search, and write them into the record of its final test.

    Args:
        records: of one search.
        objective: need not be prepared where models are trained for the evaluations.

    Raises:
        ValueError: the objective does not say what it should, or the record cannot be written.
    """
    if not isinstance(objective, Anchors):
        return
    for record in records:
        if record.settings["kind"] == "test" and record.anchors is None:
            images = record.settings["search"]["test_images"]
            record.note_anchors(_checked(objective.anchors(images)))


def recorded_anchors(records: list[Record]) -> list[Anchor]:
    """Those that the records of a search hold; none in old ones."""
    return [
        Anchor(name, fid, record.settings["search"]["test_images"])
        for record in records
        for name, fid in (record.anchors or {}).items()
    ]


def meanings(anchors: Sequence[Anchor]) -> dict[str, str]:
    """What the anchors of a table are, by name, and why real images are not among them."""
    found = {name: words for name, words in MEANING.items() if name in {a.name for a in anchors}}
    return {REAL_IMAGES: UNKNOWN} | found if found else {}


def warnings(results: Sequence[MethodResult], anchors: Sequence[Anchor]) -> list[str]:
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


def as_json(anchors: Sequence[Anchor]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            **({} if anchor.search is None else {"search": anchor.search}),
            "name": anchor.name,
            "fid": anchor.value,
            "images": anchor.images,
        }
        for anchor in anchors
    ]


def _checked(found: Any) -> dict[str, float]:
    try:
        plain = {str(name): float(fid) for name, fid in dict(found).items()}
    except (TypeError, ValueError):
        raise ValueError(f"anchors gave {found!r}, not FIDs by name") from None
    for name, fid in plain.items():
        if name not in MEANING:
            raise ValueError(f"anchors gave {name!r}; known: {', '.join(MEANING)}")
        if not math.isfinite(fid):
            raise ValueError(f"anchors gave {name} = {fid}, which is not finite")
    return plain
