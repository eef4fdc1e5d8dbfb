"""A surrogate: FID as a smooth function of strategy, n and seed, learnt from evaluations.

With x the coordinates of a strategy (see search.coordinates) and n0 the number of images of the
evaluations from which the surrogate was learnt:

    log FID(x, n0, seed) = g(x) + offset(seed) + h_seed(x) + roughness(x, seed)

g is the posterior mean of a Gaussian process over all evaluations, smooth and with gradients
everywhere. The other three terms are noise of the size that the evaluations showed: all strategies
share the first under a common seed, and neighbours share most of the second. At another n the
noise scales with 1/sqrt(n), and FID has the bias that was observed at smaller n.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from search.bound import Vector
from search.coordinates import Coordinates
from search.gaussian_process import JITTER, MEAN_VARIANCE, Data, fit, matern, squared_distances
from search.space import Space
from search.strategy import GenerationStrategy

FITTED_POINTS, FIT_ITERATIONS = 800, 60
"""Hyperparameters are fitted on at most that many evaluations, because the cost is cubic."""
FEATURES = 256
"""The number of random Fourier features of the noise (Rahimi and Recht 2007)."""


@dataclass(frozen=True)
class Noise:
    """The standard deviations of log FID at n0 images.

    Attributes:
        offset: of the noise that all strategies share under a seed.
        smooth: of the noise that neighbours share under a seed.
        rough: of the noise that no two strategies share.
    """

    offset: float
    smooth: float
    rough: float

    @property
    def total(self) -> float:
        """The standard deviation of log FID between seeds."""
        return math.sqrt(self.offset**2 + self.smooth**2 + self.rough**2)

    def at(self, draw: SmoothNoise, x: Vector, seed: int) -> float:
        """Return the noise of log FID at x [D], in units of length, under the draw of a seed."""
        rough = self.rough * _rough_noise(x, seed)
        return self.offset * draw.offset + self.smooth * draw.at(x) + rough


@dataclass(frozen=True)
class Surrogate:
    """A learnt surrogate, made by `learn`.

    Attributes:
        coordinates: the coordinates of the measured space; D numbers.
        x: the coordinates of the evaluations; [N, D].
        weights: the weights of the evaluations in g; [N].
        lengths: the length scale of each coordinate; [D].
        signal: the prior variance of g, in log FID.
        mean: the mean of log FID.
        noise: the noise between seeds.
        bias: (b0, b1): FID at n is (b0 + b1 FID(n0)) (1/n - 1/n0) above FID at n0.
        images: n0.
    """

    coordinates: Coordinates
    x: Vector
    weights: Vector
    lengths: Vector
    signal: float
    mean: float
    noise: Noise
    bias: tuple[float, float]
    images: int

    def truth(self, strategy: GenerationStrategy, images: int) -> float:
        """Return the expected FID of n images, without noise."""
        return self._fid_at(self.coordinates.from_strategy(strategy), images, 0.0)

    def fid(self, strategy: GenerationStrategy, images: int, seed: int) -> tuple[float, float]:
        """Return the FID of n images with a seed in [0, 2**32), and its standard error."""
        x = self.coordinates.from_strategy(strategy)
        noise = self.noise.at(smooth_noise(seed, len(x)), x / self.lengths, seed)
        value = self._fid_at(x, images, noise)
        return value, value * self.noise.total * math.sqrt(self.images / images)

    def log_fid(self, x: Vector) -> float:
        """Return the expected log FID of n0 images at coordinates x [D]."""
        near = squared_distances((x / self.lengths)[None], self.x / self.lengths)[0]
        kernel = self.signal * matern(near)
        return self.mean + float((kernel + self._mean_variance) @ self.weights)

    def _fid_at(self, x: Vector, images: int, noise: float) -> float:
        fid = math.exp(self.log_fid(x))
        biased = with_bias(fid, self.bias, images, self.images)
        return biased * math.exp(noise * math.sqrt(self.images / images))

    @property
    def _mean_variance(self) -> float:
        return MEAN_VARIANCE * self.signal


def learn(
    space: Space,
    tokens: int,
    strategies: list[GenerationStrategy],
    fids: Vector,
    seeds: npt.NDArray[np.int64],
    images: int,
    smaller: list[tuple[int, int, float]],
) -> Surrogate:
    """Learn a surrogate from N evaluations of n0 = `images` each.

    Args:
        space: the space that was searched.
        tokens: L.
        strategies: the N measured strategies.
        fids: their FIDs, > 0; [N].
        seeds: the seeds of the evaluations; [N].
        images: n0.
        smaller: triples (index of an evaluation, n, FID of its first n images) with n < n0.
    """
    coordinates = Coordinates(space, tokens)
    x = np.stack([coordinates.from_strategy(strategy) for strategy in strategies])
    logs = np.log(fids)
    mean, deviation = float(logs.mean()), float(max(logs.std(), 1e-9))
    y = (logs - mean) / deviation
    groups = coordinates.length_groups()
    some = np.random.default_rng(0).permutation(len(y))[:FITTED_POINTS]
    theta = fit(Data(x[some], y[some], seeds[some]), groups, None, FIT_ITERATIONS)
    count = int(groups.max()) + 1
    lengths = np.exp(theta[:count])[groups]
    signal, smooth, offset, rough = np.exp(2 * theta[count:])
    same = seeds[:, None] == seeds[None, :]
    kernel = matern(squared_distances(x / lengths, x / lengths))
    covariance = (signal + smooth * same) * kernel + offset * same + MEAN_VARIANCE * signal
    covariance[np.diag_indices_from(covariance)] += rough + JITTER
    weights = cho_solve(cho_factor(covariance, lower=True, overwrite_a=True), y)
    return Surrogate(
        coordinates,
        x,
        weights / deviation,
        lengths,
        float(signal) * deviation**2,
        mean,
        Noise(*(deviation * float(np.sqrt(v)) for v in (offset, smooth, rough))),
        _bias(fids, images, smaller),
        images,
    )


def _bias(fids: Vector, images: int, smaller: list[tuple[int, int, float]]) -> tuple[float, float]:
    """Fit b0 and b1 by least squares, without the evaluations far above the median.

    The bias of such bad strategies says nothing about good ones.
    """
    limit = 2 * np.median(fids)
    rows = [(fids[i], (fid - fids[i]) / (1 / n - 1 / images)) for i, n, fid in smaller]
    near = np.array([row for row in rows if row[0] <= limit])
    if len(near) < 2:
        return (0.0, 0.0)
    design = np.stack([np.ones(len(near)), near[:, 0]], axis=1)
    b0, b1 = np.linalg.lstsq(design, near[:, 1], rcond=None)[0]
    return float(b0), float(b1)


def with_bias(fid: float, bias: tuple[float, float], images: int, known: int) -> float:
    """Return the expected FID of n = `images` images, given the FID of `known` images."""
    return fid + (bias[0] + bias[1] * fid) * (1 / images - 1 / known)


@dataclass(frozen=True)
class SmoothNoise:
    """A random function of D coordinates, and a random offset, both of unit variance.

    The function has the Matérn 5/2 covariance with length scale 1.
    """

    offset: float
    frequencies: Vector
    phases: Vector
    amplitudes: Vector

    def at(self, x: Vector) -> float:
        """Return the value of the function at x [D]."""
        waves = np.cos(self.frequencies @ x + self.phases)
        return float(self.amplitudes @ waves) * math.sqrt(2 / FEATURES)


@lru_cache(maxsize=256)
def smooth_noise(seed: int, dimensions: int) -> SmoothNoise:
    """Draw the random function of a seed."""
    rng = np.random.default_rng([seed, dimensions])
    # The spectral density of Matérn 5/2 is Student's t with 5 degrees of freedom.
    spread = np.sqrt(5 / rng.chisquare(5, size=(FEATURES, 1)))
    return SmoothNoise(
        float(rng.normal()),
        rng.normal(size=(FEATURES, dimensions)) * spread,
        rng.uniform(0, 2 * math.pi, FEATURES),
        rng.normal(size=FEATURES),
    )


def _rough_noise(x: Vector, seed: int) -> float:
    digest = hashlib.sha256(np.round(x, 6).tobytes() + seed.to_bytes(8, "big")).digest()
    return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())


def to_json(surrogate: Surrogate) -> dict[str, Any]:
    """Return what `from_json` needs besides x and the weights."""
    noise = surrogate.noise
    return {
        "lengths": surrogate.lengths.tolist(),
        "signal": surrogate.signal,
        "mean": surrogate.mean,
        "noise": {"offset": noise.offset, "smooth": noise.smooth, "rough": noise.rough},
        "bias": list(surrogate.bias),
        "images": surrogate.images,
    }


def from_json(
    coordinates: Coordinates, x: Vector, weights: Vector, data: dict[str, Any]
) -> Surrogate:
    """Make a surrogate from JSON: the inverse of `to_json`."""
    return Surrogate(
        coordinates,
        x,
        weights,
        np.array(data["lengths"], dtype=np.float64),
        data["signal"],
        data["mean"],
        Noise(**data["noise"]),
        (data["bias"][0], data["bias"][1]),
        data["images"],
    )
