"""Gradients: how a metric changes with all values of a strategy at once.

An objective that knows the probabilities with which its images were made can tell the gradient from
the images of one evaluation (see models.schedule_gradients). An optimiser asks for it with a probe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.bound import Vector
from search.reading import shown
from search.schedules import SCHEDULES

LOGARITHMIC = ("sampling_temperature", "remask_temperature")
"""The schedules in whose logarithms a gradient is."""
DIFFERENTIABLE = (*LOGARITHMIC, "guidance_scale")
"""The schedules in a gradient, in its order. Mask ratios are whole tokens and have no derivative.
"""


@dataclass(frozen=True)
class Gradient:
    """The derivatives of a metric in the 3T - 1 values of DIFFERENTIABLE, with their errors.

    Attributes:
        values: the derivatives in the logs of the T sampling temperatures, in the logs of the T - 1
            remask temperatures, and in the T guidance scales.
        covariances: the covariance of the errors of each step's three derivatives (two at the last
            step), in that order: T matrices, row by row. Errors of different steps are independent.
    """

    values: tuple[float, ...]
    covariances: tuple[tuple[tuple[float, ...], ...], ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Gradient:
        """Make a gradient from the JSON of `dataclasses.asdict`."""
        covariances = (tuple(map(tuple, matrix)) for matrix in data["covariances"])
        return cls(tuple(data["values"]), tuple(covariances))

    @property
    def steps(self) -> int:
        """T."""
        return len(self.covariances)

    def covariance(self) -> Vector:
        """The covariance of the errors of all derivatives, [3T - 1, 3T - 1]."""
        found = np.zeros((len(self.values), len(self.values)))
        for matrix, places in zip(self.covariances, places_of(self.steps), strict=True):
            found[np.ix_(places, places)] = matrix
        return found


def places_of(steps: int) -> list[list[int]]:
    """Return where the derivatives of each step stand among the 3T - 1."""
    whole = [[t, steps + t, 2 * steps - 1 + t] for t in range(steps - 1)]
    return [*whole, [steps - 1, 3 * steps - 2]]


def checked_gradient(found: object, steps: int) -> Gradient:
    """Return what an objective gave as a gradient, in Python's own numbers.

    Args:
        found: what it gave.
        steps: T of the strategy.

    Raises:
        ValueError: it is not a gradient of T steps, or a number is not finite.
    """
    if not isinstance(found, Gradient):
        raise ValueError(f"gradient: expected a Gradient, got {shown(found)}")
    length = sum(SCHEDULES[name].length(steps) for name in DIFFERENTIABLE)
    try:
        return _checked(found, steps, length)
    except TypeError:
        raise ValueError(
            f"gradient: expected {length} numbers and {steps} covariances of numbers, got "
            f"{shown(found.values)} and {shown(found.covariances)}"
        ) from None


def _checked(found: Gradient, steps: int, length: int) -> Gradient:
    """See `checked_gradient`; a TypeError is raised where there is something else than numbers."""
    if len(found.values) != length or len(found.covariances) != steps:
        raise ValueError(
            f"gradient: expected {length} values and {steps} covariances for T = {steps}, got "
            f"{len(found.values)} and {len(found.covariances)}"
        )
    for matrix, places in zip(found.covariances, places_of(steps), strict=True):
        if np.shape(matrix) != (len(places), len(places)):
            raise ValueError(
                f"gradient: expected a covariance of shape {(len(places), len(places))}, got "
                f"{np.shape(matrix)}"
            )
    plain = Gradient(
        tuple(map(float, found.values)),
        tuple(tuple(tuple(map(float, row)) for row in matrix) for matrix in found.covariances),
    )
    every = [*plain.values, *(x for matrix in plain.covariances for row in matrix for x in row)]
    if not all(map(math.isfinite, every)):
        raise ValueError("gradient: a number is not finite")
    return plain
