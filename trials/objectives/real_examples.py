"""Real images as tokens, by class or text, to be shown beside generated ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

SCANNED = 1 << 16
"""Classes that are read at once, from what may be a large file."""


@dataclass(frozen=True)
class RealExamples:
    """The tokens of real images.

    Attributes:
        tokens: integers [N, L].
        classes: integers [N], the number of the condition that each image belongs to.
        names: the names of the conditions, by number; one that is missing is called by its number.
    """

    tokens: npt.NDArray[np.integer[Any]]
    classes: npt.NDArray[np.integer[Any]]
    names: Sequence[str] = field(default=())

    @classmethod
    def without_images(cls, tokens: int, names: Sequence[str]) -> RealExamples:
        """Names alone; `tokens` is L."""
        nothing = np.zeros((0, tokens), np.int64)
        return cls(nothing, nothing[:, 0], names)

    def first(self, conditions: Sequence[int], rows: int) -> npt.NDArray[np.int64]:
        """The first images of each condition, in columns.

        Args:
            conditions: their numbers; one that is repeated gets other images each time.
            rows: the most images of each.

        Returns:
            The tokens [rows, columns, L]; rows that cannot be filled are left out.
        """
        repeated = Counter(conditions)
        needed = {c: times * rows for c, times in repeated.items()}
        found: dict[int, list[int]] = {c: [] for c in needed}
        for start in range(0, len(self.classes), SCANNED):
            block = np.asarray(self.classes[start : start + SCANNED])
            for c, places in found.items():
                missing = needed[c] - len(places)
                if missing > 0:
                    places += (start + np.flatnonzero(block == c)[:missing]).tolist()
            if all(len(found[c]) == count for c, count in needed.items()):
                break
        whole = min(rows, *(len(found[c]) // times for c, times in repeated.items()))
        waiting = {c: iter(places) for c, places in found.items()}
        chosen = [next(waiting[c]) for _ in range(whole) for c in conditions]
        picked = np.asarray(self.tokens[chosen], dtype=np.int64)
        return picked.reshape(whole, len(conditions), self.tokens.shape[1])
