"""What comes back from measuring a strategy once."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One strategy measured once.

    Attributes:
        fid: the Fréchet distance; lower is better. Not finite where the generator diverged.
        fid_se: its standard error, or None where a single evaluation cannot give one.
        images: images generated.
        forward_passes: network passes an image (in all: images * forward_passes).
        seconds: wall time.
    """

    fid: float
    fid_se: float | None
    images: int
    forward_passes: int
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether the distance is a number that can be ranked."""
        return math.isfinite(self.fid)


@dataclass(frozen=True)
class Failure:
    """An evaluation that gave no number, and why, in one line."""

    reason: str
