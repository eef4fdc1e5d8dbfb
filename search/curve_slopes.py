"""Measured gradients as a Gaussian process over curves sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from search.bound import Vector
from search.coordinates import Coordinates
from search.gaussian_process import Slopes
from search.gradient import Gradient
from search.strategy import GenerationStrategy


class MeasuredGradient(NamedTuple):
    """A gradient, and where it was measured.

    Attributes:
        x: the coefficients of the strategy, [D].
        strategy: the strategy.
        gradient: of the metric.
        rate: by how much what the process sees of a value rises for each unit of it.
        seed: with which it was measured.
    """

    x: Vector
    strategy: GenerationStrategy
    gradient: Gradient
    rate: float
    seed: int


def slopes_of(coordinates: Coordinates, measured: Sequence[MeasuredGradient]) -> Slopes:
    """Return gradients as derivatives in the coefficients of curves.

    Each gradient gives one derivative for each coefficient of a schedule that has derivatives.
    Under a common seed similar strategies make nearly the same images, so that their errors are
    alike and do not average out: all gradients of a seed together count as one of them.

    Args:
        coordinates: the curves, D coefficients.
        measured: the gradients.
    """
    if not measured:
        return Slopes.none(len(coordinates))
    points, directions, values, covariances = [], [], [], []
    shared = Counter(one.seed for one in measured)
    for x, strategy, gradient, rate, seed in measured:
        rise = rate * coordinates.derivatives(strategy)
        moving = np.flatnonzero(rise.any(0))
        rise = rise[:, moving]
        points.append(np.repeat(x[None], len(moving), axis=0))
        directions.append(np.eye(len(coordinates))[moving])
        values.append(rise.T @ gradient.values)
        covariances.append(shared[seed] * (rise.T @ gradient.covariance() @ rise))
    return Slopes(
        np.concatenate(points),
        np.concatenate(directions),
        np.concatenate(values),
        block_diag(*covariances),
    )
