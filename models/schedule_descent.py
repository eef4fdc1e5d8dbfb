"""Descent of FID along the gradients of its own evaluations.

Each evaluation is measured at the present point and kept; the gradient comes from the last few of
them (models.schedule_gradients). A step is that of natural gradients (Amari 1998), measured by how
much it changes the images, and smooth curves move more easily than rough ones. Mask ratios and
choices stay those of the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.metrics.frechet import Statistics
from models.schedule_gradients import ScoredImages, gradient_at
from search.schedules import SCHEDULES
from search.strategy import GenerationStrategy

LEARNING_RATE = 0.3
WINDOW = 12
"""The number of evaluations of which a gradient is made."""
ROUGHNESS = 0.3
"""What moving a cosine of order k costs: ROUGHNESS x (1 + k^2), beside the Fisher information."""
LARGEST_STEP = 0.05
"""The largest step, as the KL divergence of an image in nats."""
LOGARITHMIC = ("sampling_temperature", "remask_temperature")
MOVED = (*LOGARITHMIC, "guidance_scale")
"""The schedules of a point, in its order."""


class Descent:
    """Moves a strategy down the gradient of FID.

    Args:
        start: the strategy to start from.
        real: the statistics of the real images.

    Attributes:
        point: where to measure next, [P] float64 (see models.schedule_gradients).

    Raises:
        ValueError: the start has fewer than two steps.
    """

    def __init__(self, start: GenerationStrategy, real: Statistics) -> None:
        if start.steps < 2:
            raise ValueError(f"T = {start.steps}: a descent needs a strategy of at least 2 steps")
        self._start, self._real = start, real
        self._roughness = ROUGHNESS * roughness(start.steps)
        self._seen: list[ScoredImages] = []
        self._path: list[Tensor] = []
        self.point = point_of(start)

    @property
    def strategy(self) -> GenerationStrategy:
        """The strategy to measure next."""
        return strategy_at(self._start, self.point)

    def tell(self, images: ScoredImages) -> None:
        """Take in an evaluation of `strategy`, and move. The first one alone moves nothing."""
        self._seen = [*self._seen, images][-WINDOW:]
        if len(self._seen) > 1:
            found = gradient_at(self.point, self._seen, self._real)
            step = -LEARNING_RATE * torch.linalg.solve(
                found.information + self._roughness, found.value
            )
            divergence = float(step @ found.information @ step) / 2
            step *= min(1.0, math.sqrt(LARGEST_STEP / max(divergence, 1e-12)))
            self.point = point_of(strategy_at(self._start, self.point + step))
        self._path.append(self.point)

    def result(self) -> GenerationStrategy:
        """Return the mean of the last quarter of the points, which is less noisy than the last."""
        if not self._path:
            return self._start
        last = self._path[-max(1, len(self._path) // 4) :]
        return strategy_at(self._start, torch.stack(last).mean(0))


def point_of(strategy: GenerationStrategy) -> Tensor:
    """Return the point of a strategy, [P] float64, within the bounds of a search."""
    parts = []
    for name in MOVED:
        bound = SCHEDULES[name].bound(strategy.steps)
        values = np.clip(strategy.schedule(name), bound.low, bound.high)
        parts.append(np.log(values) if name in LOGARITHMIC else values)
    return torch.from_numpy(np.concatenate(parts))


def strategy_at(start: GenerationStrategy, point: Tensor) -> GenerationStrategy:
    """Return the strategy of a point, clipped to the bounds; all else is as in the start."""
    steps, values = start.steps, point.numpy()
    cuts = (steps, 2 * steps - 1)
    schedules: dict[str, Sequence[float]] = {}
    for name, part in zip(MOVED, np.split(values, cuts), strict=True):
        bound = SCHEDULES[name].bound(steps)
        natural = np.exp(part) if name in LOGARITHMIC else part
        schedules[name] = np.clip(natural, bound.low, bound.high).tolist()
    return replace(start.with_values(schedules), guidance_floor=0.0)


def roughness(steps: int) -> Tensor:
    """Return the matrix [P, P] of the sum of (1 + k^2) x (the part of order k)^2 of the curves."""
    blocks = []
    for name in MOVED:
        order = np.arange(SCHEDULES[name].length(steps))
        curves = np.cos(np.pi * order[:, None] * (order + 0.5) / len(order))
        curves /= np.linalg.norm(curves, axis=1, keepdims=True)
        blocks.append(torch.from_numpy(curves.T @ np.diag(1.0 + order**2) @ curves))
    found: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found
