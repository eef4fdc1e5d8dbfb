"""Points spread evenly over a space, from which a model of it can be fitted."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from search.bound import Vector
from search.coordinates import Coordinates


def spread_points(
    coordinates: Coordinates, moved: npt.NDArray[np.int64], count: int, seed: int
) -> list[Vector]:
    """Return points that are evenly spread over some coefficients, the others 0 (Halton 1960).

    They take the combinations of choices in turn.

    Args:
        coordinates: of the points.
        moved: the indices of the coefficients.
        count: how many points.
        seed: of the sequence.
    """
    points = []
    unit = qmc.Halton(len(moved), seed=seed).random(count)
    for row, chosen in zip(unit, itertools.cycle(coordinates.combinations())):
        point = np.zeros(len(coordinates))
        point[moved] = (2 * row - 1) * coordinates.reach()[moved]
        point[coordinates.is_choice] = chosen
        points.append(point)
    return points
