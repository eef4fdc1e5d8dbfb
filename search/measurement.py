"""What comes back from measuring a strategy once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FORMER_NAMES = {"fid": "value", "fid_se": "standard_error", "fid_at": "value_at"}
"""What fields were called before there was more than one metric."""


@dataclass(frozen=True)
class Measurement:
    """One strategy measured once.

    Attributes:
        value: of the metric; lower is better. Not finite where the generator diverged.
        standard_error: of that value, or None where the objective gives none.
        images: images generated.
        forward_passes: network passes an image (in all: images * forward_passes).
        seconds: wall time.
        value_at: (n, value of n images) for smaller n out of the same pass, or nothing. FID falls
            with n; only values at equal n compare.
        training_steps: that the model was trained for it; 0 where it was given.
        validation_loss: of that model, or None.
        checkpoint: hash of its weights, once its training has ended, or None.
        spread: how much the images differ from each other: the total variance of their features
            over that of the real images', or None where the objective does not say.
        metric: what the value is, by name ("fid"): only values of one metric compare.
    """

    value: float
    standard_error: float | None
    images: int
    forward_passes: int
    seconds: float
    value_at: tuple[tuple[int, float], ...] = ()
    training_steps: int = 0
    validation_loss: float | None = None
    checkpoint: str | None = None
    spread: float | None = None
    metric: str = "fid"

    def __new__(cls, *values: Any, **named: Any) -> Measurement:
        """Tells whoever uses a field's former name what it is called now."""
        for former in FORMER_NAMES.keys() & named.keys():
            raise TypeError(f"Measurement({former}=...) is now {FORMER_NAMES[former]}=...")
        return super().__new__(cls)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `dataclasses.asdict`, through JSON; it reads former names too."""
        now = {FORMER_NAMES.get(name, name): value for name, value in data.items()}
        return cls(**{**now, "value_at": tuple((int(n), float(v)) for n, v in now["value_at"])})

    @property
    def finite(self) -> bool:
        """Whether the value is a number that can be ranked."""
        return math.isfinite(self.value)

    @property
    def value_infinite(self) -> float | None:
        """The value at infinite n: where the line through all values over 1/n ends (Chong and
        Forsyth 2020, "Effectively unbiased FID"); None without values at smaller n."""
        if not self.value_at:
            return None
        points = [(self.images, self.value), *self.value_at]
        _, end = np.polyfit([1 / n for n, _ in points], [value for _, value in points], 1)
        return float(end)


def with_metric(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol with the name of its metric; one without is of FID, which was the only one."""
    return {"metric": "fid"} | dict(protocol)


def metric_label(metric: str) -> str:
    """A metric's name as it is read: FID for "fid"; another's own name as it is."""
    return metric.upper() if metric in ("fid", "kid", "mmd") else metric


@dataclass(frozen=True)
class Failure:
    """An evaluation that gave no number, and why, in one line."""

    reason: str
