"""Objectives that say how the probability of each image depends on the schedules."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from models.metrics.frechet import Statistics
from models.schedule_gradients import ScoredImages
from search.strategy import GenerationStrategy


@runtime_checkable
class Scores(Protocol):
    """An objective of which FID can be descended along (see models.schedule_descent)."""

    @property
    def real_statistics(self) -> Statistics:
        """The statistics of the real images' features."""

    def scored_images(self, strategy: GenerationStrategy, images: int, seed: int) -> ScoredImages:
        """Generate the images that `evaluate` measures with that seed, with their scores.

        It takes the unconditional pass at every step.

        Args:
            strategy: T <= L steps, with temperatures above 0.
            images: n.
            seed: of the classes and all noise.

        Raises:
            ValueError: T > L, or the token order has no scores.
        """
