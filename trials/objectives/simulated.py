"""The objective `simulated`: a landscape in closed form with the noise of a real study.

It serves to test and compare optimisers: it costs nothing, so that a search takes seconds; it is
defined for every T; and its best strategy is known. With x the coordinates of a strategy
(search.coordinates) and n0 images:

    log FID(x, n0) = floor + scale (sqrt(1 + q / scale) - 1),  q a quadratic form of x - best

with one curvature for each schedule's coordinates beyond level, slope and bend, and a floor that
falls with T. It was fitted to the shipped table of real digits at T = 8
(benchmarks/fit_simulated.py); benchmarks/noise.py compares the noise. Noise and bias at other n are
as in search.surrogate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from search.bound import Vector
from search.coordinates import Coordinates
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.surrogate import Noise, smooth_noise, with_bias

LANDSCAPE = Path(__file__).parent / "tables" / "simulated.json"
FINEST = 2
"""Coordinates up to this order have a full quadratic form."""
STEPS_WEIGHT = 1.0
"""How much higher log FID is with one step than with infinitely many."""


class SimulatedObjective:
    """Measures strategies on a landscape in closed form.

    Args:
        tokens: L, >= 1.
        noise: a factor of the noise; 0 switches it off.
        latency: seconds that each evaluation sleeps, >= 0.

    Raises:
        ValueError: a setting is outside its range.
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
        """See `Objective.describe`. The protocol states that the values are simulated."""
        return {"dataset": None, "protocol": {"features": "simulated"}}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`."""
        started = time.perf_counter()
        if self._latency:  # even a sleep of 0 s would yield the core
            time.sleep(self._latency)
        coordinates = _coordinates(strategy.steps, self.tokens)
        x = coordinates.from_strategy(strategy)
        land = _landscape()
        draw = smooth_noise(seed, len(x))
        smaller = self._noise * math.sqrt(land.images / images)
        noise = smaller * land.noise.at(draw, x / land.noise_length, seed)
        fid = self._truth(coordinates, x, images) * math.exp(noise)
        return Measurement(
            value=fid,
            standard_error=fid * smaller * land.noise.total,
            images=images,
            forward_passes=strategy.forward_passes(),
            seconds=time.perf_counter() - started,
        )

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """See `Grows.evaluate_growing`."""
        for images in rungs:
            yield self.evaluate(strategy, images, seed)

    def truth(self, strategy: GenerationStrategy, images: int) -> float:
        """The expected FID with n images, without noise."""
        coordinates = _coordinates(strategy.steps, self.tokens)
        return self._truth(coordinates, coordinates.from_strategy(strategy), images)

    def best(self, steps: int) -> GenerationStrategy:
        """The strategy with the lowest expected FID."""
        coordinates = _coordinates(steps, self.tokens)
        return coordinates.to_strategy(_best(steps, self.tokens))

    def _truth(self, coordinates: Coordinates, x: Vector, images: int) -> float:
        land, steps = _landscape(), coordinates.steps
        away = x - _best(steps, self.tokens)
        parts, curvature, finer = _form(steps, self.tokens)
        q = away[parts] @ curvature @ away[parts] + finer @ away**2
        floor = land.floor + STEPS_WEIGHT * (1 / steps - 1 / land.steps)
        fid = math.exp(float(radial(np.asarray(q), floor, land.scale)))
        return with_bias(fid, land.bias, images, land.images)


@dataclass(frozen=True)
class Landscape:
    """The fitted landscape, as described at the top of this file.

    Attributes:
        images: n0.
        steps: T of the study.
        floor: log FID of the best strategy.
        scale: the height at which the quadratic turns into a cone.
        best: coordinates of the best strategy up to FINEST, schedule by schedule; [K].
        curvature: the quadratic form of these coordinates; [K, K].
        fine_curvature: of each schedule's finer coordinates; [4].
        noise: the noise between seeds.
        noise_length: the length scale of its smooth part, in coordinates.
        bias: the bias at other n (see search.surrogate).
    """

    images: int
    steps: int
    floor: float
    scale: float
    best: Vector
    curvature: Vector
    fine_curvature: Vector
    noise: Noise
    noise_length: float
    bias: tuple[float, float]

    def rows(self, coordinates: Coordinates) -> list[int]:
        """The positions in `best` of the coarse coordinates, of which small T have fewer."""
        full = coarse(_coordinates(self.steps, self.steps))
        study = _coordinates(self.steps, self.steps)
        keys = [(study.schedules[study.schedule[i]], study.order[i]) for i in full]
        names = coordinates.schedules
        return [
            keys.index((names[coordinates.schedule[i]], coordinates.order[i]))
            for i in coarse(coordinates)
        ]


def radial(q: Vector, floor: float, scale: float) -> Vector:
    """A quadratic function near 0 that becomes a cone further away."""
    return np.asarray(floor + scale * (np.sqrt(1 + q / scale) - 1))


def coarse(coordinates: Coordinates) -> list[int]:
    """The positions of the coordinates for level, slope and bend."""
    return [int(i) for i in np.flatnonzero(coordinates.order <= FINEST)]


@lru_cache(maxsize=1)
def _landscape() -> Landscape:
    data = json.loads(LANDSCAPE.read_text(encoding="utf-8"))
    plain = ("images", "steps", "floor", "scale", "noise_length")
    return Landscape(
        best=np.array(data["best"]),
        curvature=np.array(data["curvature"]),
        fine_curvature=np.array(data["fine_curvature"]),
        noise=Noise(**data["noise"]),
        bias=(data["bias"][0], data["bias"][1]),
        **{name: data[name] for name in plain},
    )


@lru_cache(maxsize=16)
def _coordinates(steps: int, tokens: int) -> Coordinates:
    return Coordinates(Space(GenerationStrategy.maskgit(steps)), max(tokens, steps))


@lru_cache(maxsize=16)
def _best(steps: int, tokens: int) -> Vector:
    coordinates = _coordinates(steps, tokens)
    x = np.zeros(len(coordinates))
    x[coarse(coordinates)] = _landscape().best[_landscape().rows(coordinates)]
    return x


@lru_cache(maxsize=16)
def _form(steps: int, tokens: int) -> tuple[list[int], Vector, Vector]:
    """The quadratic form at T.

    Returns:
        The positions of the coarse coordinates [K]; their curvature [K, K]; and the curvature of
        each coordinate [D], which is 0 for the coarse ones.
    """
    land, coordinates = _landscape(), _coordinates(steps, tokens)
    rows = land.rows(coordinates)
    finer = (coordinates.order > FINEST) * land.fine_curvature[coordinates.schedule]
    return coarse(coordinates), land.curvature[np.ix_(rows, rows)], finer
