"""FID as a smooth function of strategy, n and seed, learnt from evaluations.

With x a strategy's coordinates (search.coordinates) and n0 the images of the evaluations it was
learnt from:

    log FID(x, n0, seed) = g(x) + offset(seed) + h_seed(x) + roughness(x, seed)

g is the posterior mean of a Gaussian process over all evaluations: smooth, with gradients
everywhere. The three other terms are noise of the size that the evaluations showed; strategies
that are measured under a common seed share the first, neighbours most of the second. At other n
the noise goes with 1/sqrt(n), and FID has the bias that was seen at smaller n.
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
"""Hyperparameters are fitted on that many evaluations: the cost goes with the cube."""
FEATURES = 256
"""Random Fourier features of the noise (Rahimi and Recht 2007)."""


@dataclass(frozen=True)
class Noise:
    """Deviations of log FID at n0 images.

    Attributes:
        offset: what all strategies share under a seed.
        smooth: what neighbours share under a seed.
        rough: what no two strategies share.
    """

    offset: float
    smooth: float
    rough: float

    @property
    def total(self) -> float:
        """The deviation of log FID between seeds."""
        return math.sqrt(self.offset**2 + self.smooth**2 + self.rough**2)

    def at(self, draw: SmoothNoise, x: Vector, seed: int) -> float:
        """The noise of log FID at x [D], in units of its length, under the draw of a seed."""
        rough = self.rough * _own_noise(x, seed)
        return self.offset * draw.offset + self.smooth * draw.at(x) + rough


@dataclass(frozen=True)
class Surrogate:
    """What was learnt, made by `learn`.

    Attributes:
        coordinates: of the space that was measured; D numbers.
        x: coordinates of the evaluations; [N, D].
        weights: of the evaluations in g; [N].
        lengths: of each coordinate; [D].
        signal: variance of g before anything was measured, in log FID.
        mean: of log FID.
        noise: between seeds.
        bias: (b0, b1): FID at n lies (b0 + b1 FID(n0)) (1/n - 1/n0) above that at n0.
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
        """The expected FID of n images, without noise."""
        return self._at(self.coordinates.from_strategy(strategy), images, 0.0)

    def fid(self, strategy: GenerationStrategy, images: int, seed: int) -> tuple[float, float]:
        """FID of n images with a seed in [0, 2**32), and its standard error."""
        x = self.coordinates.from_strategy(strategy)
        noise = self.noise.at(smooth_noise(seed, len(x)), x / self.lengths, seed)
        value = self._at(x, images, noise)
        return value, value * self.noise.total * math.sqrt(self.images / images)

    def log_fid(self, x: Vector) -> float:
        """The expected log FID of n0 images at coordinates x [D]."""
        near = squared_distances((x / self.lengths)[None], self.x / self.lengths)[0]
        kernel = self.signal * matern(near)
        return self.mean + float((kernel + self._constant) @ self.weights)

    def _at(self, x: Vector, images: int, noise: float) -> float:
        fid = math.exp(self.log_fid(x))
        biased = with_bias(fid, self.bias, images, self.images)
        return biased * math.exp(noise * math.sqrt(self.images / images))

    @property
    def _constant(self) -> float:
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
    """A surrogate from N evaluations of n0 = `images` each.

    Args:
        space: what was searched.
        tokens: L.
        strategies: measured; N.
        fids: of them, > 0; [N].
        seeds: of them; [N].
        images: n0.
        smaller: (evaluation, n, FID) at n < n0 out of some of the evaluations.
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
    """b0 and b1 by least squares; evaluations far above the median, whose bias says nothing about
    good ones, do not count."""
    limit = 2 * np.median(fids)
    rows = [(fids[i], (fid - fids[i]) / (1 / n - 1 / images)) for i, n, fid in smaller]
    near = np.array([row for row in rows if row[0] <= limit])
    if len(near) < 2:
        return (0.0, 0.0)
    design = np.stack([np.ones(len(near)), near[:, 0]], axis=1)
    b0, b1 = np.linalg.lstsq(design, near[:, 1], rcond=None)[0]
    return float(b0), float(b1)


def with_bias(fid: float, bias: tuple[float, float], images: int, known: int) -> float:
    """The expected FID of n images, from that of `known` images."""
    return fid + (bias[0] + bias[1] * fid) * (1 / images - 1 / known)


@dataclass(frozen=True)
class SmoothNoise:
    """A random function of D coordinates of unit variance, with the Matérn 5/2 covariance at
    length 1, and a number of unit variance beside it."""

    offset: float
    frequencies: Vector
    phases: Vector
    amplitudes: Vector

    def at(self, x: Vector) -> float:
        """Its value at x [D]."""
        waves = np.cos(self.frequencies @ x + self.phases)
        return float(self.amplitudes @ waves) * math.sqrt(2 / FEATURES)


@lru_cache(maxsize=256)
def smooth_noise(seed: int, dimensions: int) -> SmoothNoise:
    """The random function of a seed."""
    rng = np.random.default_rng([seed, dimensions])
    # The spectral density of Matérn 5/2 is Student's t with 5 degrees of freedom.
    spread = np.sqrt(5 / rng.chisquare(5, size=(FEATURES, 1)))
    return SmoothNoise(
        float(rng.normal()),
        rng.normal(size=(FEATURES, dimensions)) * spread,
        rng.uniform(0, 2 * math.pi, FEATURES),
        rng.normal(size=FEATURES),
    )


def _own_noise(x: Vector, seed: int) -> float:
    digest = hashlib.sha256(np.round(x, 6).tobytes() + seed.to_bytes(8, "big")).digest()
    return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())


def to_json(surrogate: Surrogate) -> dict[str, Any]:
    """What `from_json` needs beside x and the weights."""
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
    """The inverse of `to_json`."""
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
