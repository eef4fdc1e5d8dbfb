"""The scale on which a model sees values of a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.bound import Vector


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
        unit = max(float(np.median(known)) - low, 1e-9)
        y = np.log1p((np.where(finite, values, known.max()) - low) / unit)
    chosen = np.arange(len(values))
    if len(values) > most:
        best = np.argsort(y, kind="stable")[: most // 2]
        chosen = np.union1d(best, chosen[-most // 2 :])
    seen = y[chosen]
    scale = ValueScale(low, unit, float(seen.mean()), max(float(seen.std()), 1e-9))
    return scale, chosen, (seen - scale.mean) / scale.deviation
