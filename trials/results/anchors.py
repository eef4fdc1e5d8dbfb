"""What stands beside the FIDs of a search, so that they can be judged: what real images have, and
one image for ever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.controls import CONSTANT_IMAGE, REAL_IMAGES
from trials.objectives.objective import Anchors, Objective
from trials.record.kinds import TEST
from trials.record.record import Record


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
        if record.settings["kind"] == TEST and record.anchors is None:
            images = record.settings["search"]["test_images"]
            record.note_anchors(_checked(objective.anchors(images)))


def recorded_anchors(records: list[Record]) -> list[Anchor]:
    """Those that the records of a search hold; none in old ones."""
    return [
        Anchor(name, fid, record.settings["search"]["test_images"])
        for record in records
        for name, fid in (record.anchors or {}).items()
    ]


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
        if name not in (REAL_IMAGES, CONSTANT_IMAGE):
            raise ValueError(f"anchors gave {name!r}; known: {REAL_IMAGES}, {CONSTANT_IMAGE}")
        if not math.isfinite(fid):
            raise ValueError(f"anchors gave {name} = {fid}, which is not finite")
    return plain
