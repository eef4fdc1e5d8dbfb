"""Strategies that need no search. A search that loses to one of them is no search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from search.strategy import GenerationStrategy


def one_step(steps: int) -> GenerationStrategy:
    """Every token sampled at once and alone, whatever T: T = 1 without guidance."""
    return GenerationStrategy((), (), (1.0,), (0.0,))


def random_order(steps: int) -> GenerationStrategy:
    """The rule of thumb's counts, but which tokens stay is chance alone; no guidance."""
    return dataclasses.replace(
        GenerationStrategy.maskgit(steps),
        remask_temperature=(1e6,) * (steps - 1),
        guidance_scale=(0.0,) * steps,
    )


def more_remask_noise(steps: int) -> GenerationStrategy:
    """The rule of thumb with remask temperatures of 10 falling, cooler sampling, no guidance."""
    return dataclasses.replace(
        GenerationStrategy.maskgit(steps),
        remask_temperature=tuple(10 * (1 - np.linspace(0, 1, steps + 1))[:-2]),
        sampling_temperature=(0.9,) * steps,
        guidance_scale=(0.0,) * steps,
    )


CONTROLS: Mapping[str, Callable[[int], GenerationStrategy]] = {
    "rule of thumb": GenerationStrategy.maskgit,
    "one step": one_step,
    "random order": random_order,
    "more remask noise": more_remask_noise,
}
"""By name, from T to a strategy."""
