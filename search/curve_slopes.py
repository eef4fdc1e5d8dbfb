"""Measured gradients as a Gaussian process over curves sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from search.bound import Vector
from search.coordinates import Coordinates
from search.gaussian_process import Slopes
from search.gradient import Gradient
from search.strategy import GenerationStrategy

ALIKE = 0.3
"""How quickly the errors of two gradients under one seed become independent: their correlation is
exp(-distance / ALIKE) at that distance of the coefficients. On digits (T = 8, n = 250, 16 seeds,
around one control) it was 0.86, 0.77, 0.54 and 0.32 (each ± 0.05) at 0.04, 0.07, 0.16 and 0.35."""


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
    alike and do not average out (see ALIKE).

    Args:
        coordinates: the curves, D coefficients.
        measured: the gradients.
    """
    if not measured:
        return Slopes.none(len(coordinates))
    points, directions, values, deviations = [], [], [], []
    for x, strategy, gradient, rate, _ in measured:
        rise = rate * coordinates.derivatives(strategy)
        moving = np.flatnonzero(rise.any(0))
        rise = rise[:, moving]
        points.append(np.repeat(x[None], len(moving), axis=0))
        directions.append(np.eye(len(coordinates))[moving])
        values.append(rise.T @ gradient.values)
        deviations.append(_root(rise.T @ gradient.covariance() @ rise))
    return Slopes(
        np.concatenate(points),
        np.concatenate(directions),
        np.concatenate(values),
        _covariance(measured, deviations),
    )


def _covariance(measured: Sequence[MeasuredGradient], deviations: Sequence[Vector]) -> Vector:
    """The covariance of the errors of all derivatives, from the roots of those of each gradient."""
    blocks = [[np.zeros((len(one), len(other))) for other in deviations] for one in deviations]
    for i, one in enumerate(measured):
        for j, other in enumerate(measured):
            if one.seed == other.seed:
                alike = np.exp(-np.linalg.norm(one.x - other.x) / ALIKE)
                size = min(len(deviations[i]), len(deviations[j]))
                blocks[i][j] = alike * deviations[i][:, :size] @ deviations[j][:, :size].T
    return np.block(blocks)


def _root(covariance: Vector) -> Vector:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)
