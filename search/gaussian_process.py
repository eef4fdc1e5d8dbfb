"""A Gaussian process for noisy values whose noise depends on a seed.

An evaluation of strategy x with seed s is modelled as

    y = g(x) + offset(s) + h_s(x) + noise

g is the function to estimate. Two evaluations with a common seed share offset(s), and nearby ones
also share most of h_s; this is how the model represents common random numbers. It therefore treats
differences within a seed as nearly exact, yet recognises a strategy that is good under one seed
only. Derivatives of g, where they were measured, are observations with known errors.
Kernels are Matérn 5/2 (Rasmussen and Williams 2006, section 4.2); lengths and deviations maximise
the posterior density under wide log-normal priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]

PRIORS = {  # log-normal: median and deviation of the log, for y of unit variance
    "length": (0.7, 0.7),
    "signal": (1.0, 0.7),
    "seed": (0.05, 1.0),
    "offset": (0.1, 1.0),
    "noise": (0.02, 1.0),
}
MEAN_VARIANCE = 10.0
JITTER = 1e-6


@dataclass(frozen=True)
class Data:
    """The evaluations: inputs [N, D], standardised values [N] and seeds [N] (any integers)."""

    x: Array
    y: Array
    seeds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slopes:
    """Measured derivatives of g: where, in which direction, and how large.

    Attributes:
        x: the points, [Q, D].
        directions: the directions, [Q, D]: the derivative is their product with the gradient.
        values: the derivatives, [Q].
        covariance: of their errors, [Q, Q].
    """

    x: Array
    directions: Array
    values: Array
    covariance: Array

    @classmethod
    def none(cls, width: int) -> Slopes:
        """No derivatives, of points of D = width numbers."""
        return cls(np.empty((0, width)), np.empty((0, width)), np.empty(0), np.empty((0, 0)))


class GaussianProcess:
    """The posterior of g given data.

    Args:
        data: the evaluations.
        groups: for each input dimension, the index of its length scale; [D].
        theta: log hyperparameters: one length scale a group, then signal, seed, offset, noise.
        slopes: measured derivatives of g; none by default.
    """

    def __init__(
        self,
        data: Data,
        groups: npt.NDArray[np.int64],
        theta: Array,
        slopes: Slopes | None = None,
    ) -> None:
        self._data, self._groups, self.theta = data, groups, theta
        self._slopes = Slopes.none(data.x.shape[1]) if slopes is None else slopes
        count = int(groups.max()) + 1
        self._scale = np.exp(-theta[:count])[groups]
        self._signal = np.exp(2 * theta[count])
        # A direction as the change of the squared, scaled distance needs it.
        self._steep = self._slopes.directions * self._scale**2
        covariance = _covariance(_group_distances(data.x, groups), _same_seed(data.seeds), theta)
        mixed = self._with_slopes(data.x)
        whole = np.block([[covariance, mixed], [mixed.T, self._among_slopes()]])
        self._factor = cholesky(whole, lower=True)
        self._weights = cho_solve((self._factor, True), np.append(data.y, self._slopes.values))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return the mean and the standard deviation of g at x [M, D]; both [M]."""
        cross = self._cross(x)
        mean = cross @ self._weights
        solved = solve_triangular(self._factor, cross.T, lower=True)
        variance = self._signal + MEAN_VARIANCE - np.sum(solved**2, axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def difference(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the mean and the standard deviation of g(a) - g(b) for two points [D]."""
        pair = np.stack([a, b])
        cross = self._cross(pair)
        change = cross[0] - cross[1]
        solved = solve_triangular(self._factor, change, lower=True)
        scaled = pair * self._scale
        near = float(matern(squared_distances(scaled[:1], scaled[1:]))[0, 0])
        variance = 2 * self._signal * (1 - near) - float(solved @ solved)
        return float(change @ self._weights), float(np.sqrt(max(variance, 0.0)))

    def left_out(self) -> Array:
        """Return the error of the prediction of each value from all others; [N].

        In closed form (Rasmussen and Williams 2006, equation 5.12).
        """
        inverse = cho_solve((self._factor, True), np.eye(len(self._weights)))
        return np.asarray(self._weights / np.diag(inverse))[: len(self._data.y)]

    def bound(self, x: Array, width: float) -> tuple[float, Array]:
        """Return mean - width * deviation of g at one point [D], and its gradient [D]."""
        cross = self._cross(x[None])[0]
        difference = (x - self._data.x) * self._scale
        root = np.sqrt(5 * (difference**2).sum(1))
        rise = (-5 / 3 * self._signal * (1 + root) * np.exp(-root))[:, None]
        slope = np.vstack([rise * difference * self._scale, self._slopes_at(x)])
        solved = cho_solve((self._factor, True), cross)
        deviation = np.sqrt(max(self._signal + MEAN_VARIANCE - float(cross @ solved), 1e-12))
        value = float(cross @ self._weights) - width * deviation
        return value, slope.T @ (self._weights + width / deviation * solved)

    def expected(self, x: Array, seed: int) -> float:
        """Return the expected value of an evaluation at x [D] with that seed."""
        shared = self._data.seeds == seed
        kernel = matern(squared_distances(x[None] * self._scale, self._data.x * self._scale))[0]
        seed_part, offset = np.exp(2 * self.theta[-3:-1])
        cross = self._cross(x[None])[0]
        cross[: len(shared)] += (seed_part * kernel + offset) * shared
        return float(cross @ self._weights)

    def _cross(self, x: Array) -> Array:
        """The covariances of g at x [M, D] with all observations, [M, N + Q]."""
        near = matern(squared_distances(x * self._scale, self._data.x * self._scale))
        return np.hstack([self._signal * near + MEAN_VARIANCE, self._with_slopes(x)])

    def _with_slopes(self, x: Array) -> Array:
        """The covariances of g at x [M, D] with the derivatives, [M, Q].

        With d = x - x', S the squared inverse length scales and r^2 = 5 d^T S d, the derivative of
        g at x' in the direction u has the covariance 5/3 signal (1 + r) exp(-r) u^T S d with g(x).
        """
        at = self._slopes.x
        root = np.sqrt(5 * squared_distances(x * self._scale, at * self._scale))
        along = x @ self._steep.T - (at * self._steep).sum(1)
        return np.asarray(5 / 3 * self._signal * (1 + root) * np.exp(-root) * along)

    def _among_slopes(self) -> Array:
        """The covariances of the observed derivatives with each other, [Q, Q].

        In the terms of `_with_slopes`, those in the directions u and v at the two points have
        5/3 signal exp(-r) ((1 + r) u^T S v - 5 (u^T S d) (v^T S d)), and their errors are added.
        """
        at, steep = self._slopes.x, self._steep
        root = np.sqrt(5 * squared_distances(at * self._scale, at * self._scale))
        products = steep @ at.T
        first = np.diag(products)[:, None] - products  # [q, p]: direction q times x_q - x_p
        alike = (1 + root) * (steep @ self._slopes.directions.T) + 5 * first * first.T
        covariance = 5 / 3 * self._signal * np.exp(-root) * alike + self._slopes.covariance
        covariance[np.diag_indices_from(covariance)] += JITTER
        return np.asarray(covariance)

    def _slopes_at(self, x: Array) -> Array:
        """The derivatives of `_with_slopes` in one point [D], [Q, D]."""
        difference = x - self._slopes.x
        root = np.sqrt(5 * ((difference * self._scale) ** 2).sum(1))
        along = (difference * self._steep).sum(1)
        scaled = difference * self._scale**2
        turned = (1 + root)[:, None] * self._steep - 5 * along[:, None] * scaled
        return np.asarray((5 / 3 * self._signal * np.exp(-root))[:, None] * turned)


def fit(data: Data, groups: npt.NDArray[np.int64], theta: Array | None, iterations: int) -> Array:
    """Return the log hyperparameters of highest posterior density, found by descent from `theta`.

    They are those given the values alone. Derivatives say nothing about what they do not see, such
    as mask ratios, and fitted to them the length scales became too large.

    Args:
        data: the evaluations.
        groups: for each input dimension, the index of its length scale; [D].
        theta: where to start; None for the medians of the priors.
        iterations: the largest number of iterations of the descent.
    """
    medians, deviations = _priors(int(groups.max()) + 1)
    start = medians if theta is None else theta
    distances, same = _group_distances(data.x, groups), _same_seed(data.seeds)
    found = minimize(
        _negative_log_posterior,
        start,
        args=(distances, same, data.y, medians, deviations),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(medians - 4 * deviations, medians + 4 * deviations, strict=True)),
        options={"maxiter": iterations},
    )
    return np.asarray(found.x)


def _priors(lengths: int) -> tuple[Array, Array]:
    rows = [PRIORS["length"]] * lengths + [
        PRIORS[name] for name in ("signal", "seed", "offset", "noise")
    ]
    medians, deviations = np.array(rows).T
    return np.log(medians), deviations


def _negative_log_posterior(
    theta: Array, distances: Array, same: Array, y: Array, medians: Array, deviations: Array
) -> tuple[float, Array]:
    """Return the negative log posterior and its gradient."""
    count = len(distances)
    weighted = distances * np.exp(-2 * theta[:count])[:, None, None]
    root = np.sqrt(5 * weighted.sum(0))
    decay = np.exp(-root)
    kernel = (1 + root + root**2 / 3) * decay
    signal, seed, offset, noise = np.exp(2 * theta[count:])
    shared = signal + seed * same
    covariance = shared * kernel + offset * same + MEAN_VARIANCE
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    factor = cholesky(covariance, lower=True)
    inverse = cho_solve((factor, True), np.eye(len(y)))
    weights = inverse @ y
    value = 0.5 * y @ weights + np.log(np.diag(factor)).sum()
    outer = np.outer(weights, weights) - inverse
    slope = 0.5 * outer * shared * (1 + root) * decay * (5 / 3)
    gradient = np.empty_like(theta)
    gradient[:count] = -np.tensordot(weighted, slope, axes=([1, 2], [0, 1]))
    gradient[count] = -np.sum(outer * kernel) * signal
    gradient[count + 1] = -np.sum(outer * kernel * same) * seed
    gradient[count + 2] = -np.sum(outer * same) * offset
    gradient[count + 3] = -np.trace(outer) * noise
    away = (theta - medians) / deviations
    return float(value + 0.5 * away @ away), gradient + away / deviations


def _covariance(distances: Array, same: Array, theta: Array) -> Array:
    count = len(distances)
    weighted = np.tensordot(np.exp(-2 * theta[:count]), distances, axes=1)
    signal, seed, offset, noise = np.exp(2 * theta[count:])
    covariance: Array = (signal + seed * same) * matern(weighted) + offset * same + MEAN_VARIANCE
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    return covariance


def matern(squared: Array) -> Array:
    """Return the Matérn 5/2 covariance at squared distances in units of the length scale."""
    root = np.sqrt(5 * squared)
    return np.asarray((1 + root + root**2 / 3) * np.exp(-root))


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances between the rows of a [M, D] and b [N, D]; [M, N]."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def _group_distances(x: Array, groups: npt.NDArray[np.int64]) -> Array:
    """Squared distances within each group of dimensions; [groups, N, N]."""
    count = int(groups.max()) + 1
    return np.stack([squared_distances(x[:, groups == g], x[:, groups == g]) for g in range(count)])


def _same_seed(seeds: npt.NDArray[np.int64]) -> Array:
    """1 where two evaluations have a common seed; [N, N]."""
    return np.asarray(seeds[:, None] == seeds[None, :], dtype=np.float64)
