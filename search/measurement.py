"""What comes back from measuring a strategy once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """One strategy measured once.

    Attributes:
        fid: the Fréchet distance; lower is better. Not finite where the generator diverged.
        fid_se: its standard error, or None where the objective gives none.
        images: images generated.
        forward_passes: network passes an image (in all: images * forward_passes).
        seconds: wall time.
        fid_at: (n, FID of n images) for smaller n out of the same pass, or nothing. FID falls with
            n; only values at equal n compare.
        training_steps: that the model was trained for it; 0 where it was given.
        validation_loss: of that model, or None.
        checkpoint: hash of its weights, once its training has ended, or None.
        spread: how much the images differ from each other: the total variance of their features
            over that of the real images', or None where the objective does not say.
    """

    fid: float
    fid_se: float | None
    images: int
    forward_passes: int
    seconds: float
    fid_at: tuple[tuple[int, float], ...] = ()
    training_steps: int = 0
    validation_loss: float | None = None
    checkpoint: str | None = None
    spread: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `dataclasses.asdict`, through JSON."""
        return cls(**{**data, "fid_at": tuple((int(n), float(f)) for n, f in data["fid_at"])})

    @property
    def finite(self) -> bool:
        """Whether the distance is a number that can be ranked."""
        return math.isfinite(self.fid)

    @property
    def fid_infinite(self) -> float | None:
        """FID at infinite n: where the line through all values over 1/n ends (Chong and Forsyth
        2020, "Effectively unbiased FID"); None without values at smaller n."""
        if not self.fid_at:
            return None
        points = [(self.images, self.fid), *self.fid_at]
        _, end = np.polyfit([1 / n for n, _ in points], [fid for _, fid in points], 1)
        return float(end)


@dataclass(frozen=True)
class Failure:
    """An evaluation that gave no number, and why, in one line."""

    reason: str
