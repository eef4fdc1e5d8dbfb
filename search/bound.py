"""The range of a value and its natural scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

LARGEST_VALUE = 1e9
"""The largest value that a schedule may have: networks compute in float32, where products of
larger values overflow."""


@dataclass(frozen=True)
class Bound:
    """The range of every value of a schedule, and whether its natural scale is logarithmic.

    Attributes:
        low: the lower end, >= 0.
        high: the upper end, > low.
        log: whether the scale is logarithmic.

    Raises:
        ValueError: unless 0 <= low < high <= LARGEST_VALUE, or if a log scale starts at 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= LARGEST_VALUE):
            raise ValueError(
                f"expected bounds with 0 <= low < high <= {LARGEST_VALUE:g}, "
                f"got [{self.low}, {self.high}]"
            )
        if self.log and self.low == 0:
            raise ValueError(f"bounds [0, {self.high}]: a log scale cannot start at 0")

    def to_json(self) -> dict[str, float | bool]:
        """Return the bound as a JSON object."""
        return {"low": self.low, "high": self.high, "log": self.log}


def to_unit(vector: Vector, low: Vector, high: Vector, log: npt.NDArray[np.bool_]) -> Vector:
    """Map a vector [D] from natural units to [0, 1], along the scale of each entry."""
    bottom = _to_scale(low, log)
    return (_to_scale(vector, log) - bottom) / (_to_scale(high, log) - bottom)


def from_unit(unit: Vector, low: Vector, high: Vector, log: npt.NDArray[np.bool_]) -> Vector:
    """Map a vector [D] from [0, 1] to natural units, clipped to the bounds."""
    bottom = _to_scale(low, log)
    scaled = bottom + np.clip(unit, 0, 1) * (_to_scale(high, log) - bottom)
    natural = np.where(log, np.exp(np.where(log, scaled, 0.0)), scaled)
    return np.clip(natural, low, high)


def _to_scale(vector: Vector, log: npt.NDArray[np.bool_]) -> Vector:
    return np.where(log, np.log(np.where(log, vector, 1.0)), vector)
