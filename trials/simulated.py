"""A simulated objective: a smooth landscape with seeded noise, for work on algorithms.

It costs nothing, so that a search takes seconds. Distance from a best strategy is measured along
each schedule's scale; the noise falls with the root of n and depends smoothly on the strategy, so
that evaluations with a common seed share most of it, as with a real generator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from search.measurement import Measurement
from search.space import Space, Vector
from search.strategy import GenerationStrategy

FLOOR = 2.0
"""FID of the best strategy at infinite n."""
CURVATURE = 400.0
BIAS = 600.0
NOISE = 12.0
WAVES = 64
WAVELENGTH = 1.5


class SimulatedObjective:
    """fid = floor + curvature * mean squared distance + bias / n + noise / sqrt(n).

    Args:
        tokens: L, >= 1.
        noise: scales the noise; 0 switches it off.
        latency: seconds that an evaluation sleeps, >= 0.

    Raises:
        ValueError: a setting outside its range.
    """

    def __init__(self, *, tokens: int = 64, noise: float = 1.0, latency: float = 0.0) -> None:
        if tokens < 1:
            raise ValueError(f"tokens = {tokens} is not positive")
        for name, value in (("noise", noise), ("latency", latency)):
            if not (0 <= value < math.inf):
                raise ValueError(f"{name} = {value} is not a finite number >= 0")
        self.tokens = tokens
        self._noise, self._latency = noise, latency

    def describe(self) -> Mapping[str, Any]:
        """There is no data and no checkpoint; the protocol says that nothing is measured."""
        return {"dataset": None, "protocol": {"features": "simulated"}}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`."""
        started = time.perf_counter()
        time.sleep(self._latency)
        space = _space(strategy.steps)
        distance = space.to_unit(_within(space, strategy)) - space.to_unit(_best(space))
        truth = FLOOR + CURVATURE * float(np.mean(distance**2))
        noise = self._noise * NOISE / math.sqrt(images) * _smooth_noise(distance, seed)
        return Measurement(
            fid=truth + BIAS / images + noise,
            fid_se=None,
            images=images,
            forward_passes=strategy.forward_passes(),
            seconds=time.perf_counter() - started,
        )


def _space(steps: int) -> Space:
    return Space(GenerationStrategy.maskgit(steps))


def _within(space: Space, strategy: GenerationStrategy) -> Vector:
    return np.clip(space.to_vector(strategy), space.low, space.high)


def _best(space: Space) -> Vector:
    """The landscape's best strategy: much remask noise at first, cool sampling, late guidance."""
    steps = space.start.steps
    time_ = np.arange(1, steps + 1) / steps
    best = GenerationStrategy(
        mask_ratio=tuple((1 - time_[:-1]) ** 0.8 * 0.99),
        remask_temperature=tuple(8.0 * (1.0 - time_[:-1]) + 0.2),
        sampling_temperature=tuple(1.1 - 0.3 * time_),
        guidance_scale=tuple(1.5 * time_**2),
    )
    return space.to_vector(best)


def _smooth_noise(distance: Vector, seed: int) -> float:
    """A Gaussian random function of the strategy, drawn by the seed: unit variance, smooth on the
    scale of WAVELENGTH in units of the whole range (random Fourier features)."""
    rng = np.random.default_rng(seed)
    frequencies = rng.normal(size=(WAVES, len(distance))) / WAVELENGTH
    phases = rng.uniform(0, 2 * math.pi, WAVES)
    return float(rng.normal(size=WAVES) @ np.cos(frequencies @ distance + phases)) * math.sqrt(
        2 / WAVES
    )
