"""Anchors for judging a FID: the FID of real images against real ones, and of a repeated image.

N: real images, F: features per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.frechet import Statistics, Sums, frechet_distance

HALVINGS = 20
"""How many random halvings are averaged; a single one is already accurate to a tenth."""
FEWEST_TO_HALVE = 4
"""Images of which each half has a covariance."""


@dataclass(frozen=True)
class Halves:
    """The distance between two random halves of the real images.

    Attributes:
        distance: the Fréchet distance between the halves, >= 0.
        first: the number of images in the first half, >= 2.
        second: the number of images in the second half, >= 2.

    Raises:
        ValueError: a value is out of range.
    """

    distance: float
    first: int
    second: int

    def __post_init__(self) -> None:
        known = isinstance(self.distance, int | float) and math.isfinite(self.distance)
        if not known or self.distance < 0:
            raise ValueError(f"halves: distance = {self.distance!r} is not a number >= 0")
        for count in (self.first, self.second):
            if type(count) is not int or count < 2:
                raise ValueError(f"halves: expected a number of images >= 2, got {count!r}")

    def at(self, images: float) -> float:
        """Return the FID that `images` newly drawn real images, or infinitely many, would have
        against all of these.

        Two samples of one distribution, of m and M images, differ by the errors of their means and
        covariances. The variances of these errors are proportional to 1/m + 1/M, and the distance
        is quadratic in the errors, so it is proportional to 1/m + 1/M, too. (On the digits this
        agrees with direct measurements of 100 to 800 images within 6 %.)
        """
        variance = 1 / self.first + 1 / self.second
        return self.distance * (1 / images + 1 / (self.first + self.second)) / variance


def halves_of(first: Sums, second: Sums) -> Halves | None:
    """Measure two halves, given their sums; None if a half has fewer than two images."""
    if min(first.images, second.images) < 2:
        return None
    distance = float(frechet_distance(first.statistics(), second.statistics()))
    return Halves(max(0.0, distance), first.images, second.images)


def mean_of_halvings(found: Tensor) -> Halves:
    """Average over HALVINGS random halvings of real images with features [N, F], N at
    least FEWEST_TO_HALVE."""
    generator = torch.Generator().manual_seed(0)
    found, count = found.double(), len(found) // 2
    distances = []
    for _ in range(HALVINGS):
        order = torch.randperm(len(found), generator=generator)
        halves = (found[order[:count]], found[order[count:]])
        distances.append(float(frechet_distance(*(Sums.of(half).statistics() for half in halves))))
    return Halves(math.fsum(distances) / HALVINGS, count, len(found) - count)


def constant_distance(real: Statistics, found: Tensor) -> float:
    """Return the FID, at any n, of images that are all equal and have the features [F]."""
    difference = (real.mean.cpu() - found.double().cpu()).square().sum()
    return float(difference + real.covariance.trace().cpu())
