"""The scales on which a model sees values of a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from search.bound import Vector

FLOOR = 1e-9
"""The least unit and deviation of a scale, where values are equal."""


@dataclass(frozen=True)
class ValueScale:
    """The scale log(1 + (value - low) / unit), standardised.

    It does not matter how bad a bad strategy is, so values far above the median are compressed by
    the logarithm.
    """

    low: float
    unit: float
    mean: float
    deviation: float

    def to_value(self, y: float) -> float:
        """Return the value that the model sees as y."""
        return self.low + self.unit * math.expm1(self.deviation * y + self.mean)

    def rate(self, value: float) -> float:
        """Return by how much y rises for each unit of a value >= low."""
        return 1 / ((self.unit + value - self.low) * self.deviation)


def scaled(values: Vector, most: int) -> tuple[ValueScale, npt.NDArray[np.int64], Vector]:
    """Bring values onto their scale, and choose the most informative: the lowest and the latest.

    Args:
        values: [N] in the order of the evaluations, N >= 1; those that are not finite count as the
            highest.
        most: how many to choose at most.

    Returns:
        The scale, the indices of the chosen values in rising order, and these on the scale.
    """
    finite = np.isfinite(values)
    y, low, unit = np.zeros(len(values)), 0.0, 1.0
    if finite.any():
        known = values[finite]
        low = float(known.min())
        unit = max(float(np.median(known)) - low, FLOOR)
        y = np.log1p((np.where(finite, values, known.max()) - low) / unit)
    chosen = informative(y, most)
    seen = y[chosen]
    scale = ValueScale(low, unit, float(seen.mean()), max(float(seen.std()), FLOOR))
    return scale, chosen, (seen - scale.mean) / scale.deviation


def informative(values: Vector, most: int) -> npt.NDArray[np.int64]:
    """Choose the most informative evaluations: the lowest and the latest.

    Args:
        values: [N], finite, in the order of the evaluations.
        most: how many to choose at most, about half of each.

    Returns:
        Their indices, in rising order.
    """
    every = np.arange(len(values))
    if len(values) <= most:
        return every
    best = np.argsort(values, kind="stable")[: most // 2]
    return np.asarray(np.union1d(best, every[-most // 2 :]))


@dataclass(frozen=True)
class ReferenceScale:
    """The scale arcsinh((value - low) / unit), standardised, where references give low and unit.

    Two searches that measured the same references under different conditions have comparable values
    on it. Like `ValueScale` it compresses values far above the references; it also has room below
    them.
    """

    low: float
    unit: float
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, references: Sequence[float] | Vector) -> ReferenceScale:
        """Make the scale of references: the lowest is 0, and their median arcsinh(1)."""
        low = float(min(references))
        return cls(low, max(float(np.median(references)) - low, FLOOR))

    def standardised(self, y: Vector) -> ReferenceScale:
        """Return the scale on which values [N] of this one have a mean of 0 and a deviation of
        1."""
        return replace(self, mean=float(y.mean()), deviation=max(float(y.std()), FLOOR))

    def to_model(self, values: Vector) -> Vector:
        """Return what the model sees of values [N]."""
        plain = np.arcsinh((values - self.low) / self.unit)
        return np.asarray((plain - self.mean) / self.deviation)

    def to_value(self, y: float) -> float:
        """Return the value that the model sees as y."""
        return self.low + self.unit * math.sinh(self.deviation * y + self.mean)

    def rate(self, value: float) -> float:
        """Return by how much y rises for each unit of a value."""
        return 1 / (math.hypot(self.unit, value - self.low) * self.deviation)


def is_flat(scale: ValueScale | ReferenceScale) -> bool:
    """Whether values are equal, so that there is no telling what a slope is worth."""
    return min(scale.unit, scale.deviation) <= FLOOR
