"""What a FID is worth: what real images have against real ones, and one image for ever.

N: real images, F: features an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.frechet import Statistics, Sums, frechet_distance

HALVINGS = 20
"""One halving knows the distance to a tenth already."""


@dataclass(frozen=True)
class Halves:
    """Real images in two halves at random, one measured against the other.

    Attributes:
        distance: between the halves, >= 0.
        first: images of the one, >= 2.
        second: of the other, >= 2.

    Raises:
        ValueError: a value outside its range.
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
                raise ValueError(f"halves: {count!r} is not a number of images >= 2")

    def at(self, images: int) -> float:
        """FID of so many real images, drawn anew, against all of these N.

        Two samples of one distribution, of m and M images, lie apart by the errors of their means
        and covariances. Those have variances in proportion to 1/m + 1/M, and the distance is
        quadratic in them, so that it is in proportion too (digits: 100 to 800 images directly
        against the others, to within 6 %).
        """
        apart = 1 / self.first + 1 / self.second
        return self.distance * (1 / images + 1 / (self.first + self.second)) / apart


def halves_of(first: Sums, second: Sums) -> Halves | None:
    """Two halves by their sums; None for fewer than two images in one of them."""
    if min(first.images, second.images) < 2:
        return None
    distance = float(frechet_distance(first.statistics(), second.statistics()))
    return Halves(max(0.0, distance), first.images, second.images)


def mean_of_halvings(found: Tensor) -> Halves:
    """The mean over HALVINGS of real images' features [N, F], N >= 4."""
    generator = torch.Generator().manual_seed(0)
    found, count = found.double(), len(found) // 2
    distances = []
    for _ in range(HALVINGS):
        order = torch.randperm(len(found), generator=generator)
        halves = (found[order[:count]], found[order[count:]])
        sums = [Sums(half.sum(0), half.T @ half, len(half)) for half in halves]
        distances.append(float(frechet_distance(*(s.statistics() for s in sums))))
    return Halves(math.fsum(distances) / HALVINGS, count, len(found) - count)


def constant_distance(real: Statistics, found: Tensor) -> float:
    """FID of images that are all alike, whose features [F] have no covariance, at any n."""
    difference = (real.mean.cpu() - found.double().cpu()).square().sum()
    return float(difference + real.covariance.trace().cpu())
