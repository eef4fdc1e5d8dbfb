"""Reference values by which the results of a search can be judged.

They are the values that real images have, and one image repeated again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.controls import CONSTANT_IMAGE, REAL_IMAGES
from trials.objectives.objective import Anchors, Objective
from trials.objectives.other_metric import measuring_in
from trials.record.kinds import TEST
from trials.record.record import Record


@dataclass(frozen=True)
class Anchor:
    """A reference value that needs no generator, under the protocol of a search.

    Attributes:
        name: REAL_IMAGES or CONSTANT_IMAGE.
        value: in the metric of the final test.
        images: n, the same as in the final test.
        search: the name of its search, where compared searches have different values; else None.
    """

    name: str
    value: float
    images: int
    search: str | None = None

    @property
    def label(self) -> str:
        """The name, preceded by that of its search where it has one."""
        return self.name if self.search is None else f"{self.search}/{self.name}"


def note_anchors(records: list[Record], objective: Objective) -> None:
    """Measure the reference values of a search once, and write them into the record of its test.

    Args:
        records: of one search.
        objective: its objective; it need not be prepared where models are trained.

    Raises:
        ValueError: the objective returns something else, or the record cannot be written.
    """
    for record in records:
        if record.settings["kind"] != TEST or record.anchors is not None:
            continue
        tests = measuring_in(objective, record.settings["search"].get("test_metric"))
        if isinstance(tests, Anchors):
            images = record.settings["search"]["test_images"]
            record.note_anchors(_checked(tests.anchors(images)))


def recorded_anchors(records: list[Record]) -> list[Anchor]:
    """The reference values in the records of a search; old records hold none."""
    return [
        Anchor(name, fid, record.settings["search"]["test_images"])
        for record in records
        for name, fid in (record.anchors or {}).items()
    ]


def as_json(anchors: Sequence[Anchor]) -> list[dict[str, Any]]:
    """The reference values as JSON objects."""
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
        raise ValueError(f"anchors: expected values by name, got {found!r}") from None
    for name, fid in plain.items():
        if name not in (REAL_IMAGES, CONSTANT_IMAGE):
            raise ValueError(
                f"anchors: expected the names {REAL_IMAGES!r} and {CONSTANT_IMAGE!r}, got {name!r}"
            )
        if not math.isfinite(fid):
            raise ValueError(f"anchors: expected a finite value for {name!r}, got {fid}")
    return plain
