"""The maximum mean discrepancy between the features of real and generated images, by any kernel:
its estimate and its error from sums over pairs of images, group by group.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), for generated x and real y (Gretton et al. 2012). All
that is needed of n images are the sums of k between groups of them, so that leaving out a group
costs nothing. The features are kept as they come, on the device where they were computed.
n: generated images, N: real ones, F: features an image, G: groups.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.metrics.metric import Estimate, KeptFeatures, RealImages, jackknife, spread_of

MOST_NUMBERS = 2**29
"""Features that are kept at most, n x F: 2 GiB in float32; 262,144 images of 2,048 features."""
BLOCK = 2**22
"""Pairs of images whose kernel is computed at once."""
PARTS = (2, 4)
"""Into how many disjoint parts the groups are put for the value at smaller n."""


@dataclass(frozen=True)
class KernelSums:
    """Sums of a kernel over pairs of images, float64.

    Attributes:
        between: generated images of one group and of another, [G, G].
        own: each generated image and itself, [G].
        real: generated and real images, [G].
        sizes: images of each group.
        real_pairs: the mean over pairs of real images that the estimator takes.
        real_images: N.
    """

    between: Tensor
    own: Tensor
    real: Tensor
    sizes: tuple[int, ...]
    real_pairs: float
    real_images: int

    def distance(self, groups: Sequence[int], unbiased: bool) -> float:
        """MMD^2 of some of the groups, by their numbers."""
        chosen = list(groups)
        images = sum(self.sizes[i] for i in chosen)
        pairs = self.between[chosen][:, chosen].sum()
        mean = (
            (pairs - self.own[chosen].sum()) / (images * (images - 1))
            if unbiased
            else pairs / images**2
        )
        across = self.real[chosen].sum() / (images * self.real_images)
        return float(mean + self.real_pairs - 2 * across)


class KernelDistance(ABC):
    """What KID and MMD share (see `models.metrics.metric.Metric`); they give the kernel.

    Attributes:
        unbiased: whether an image is not paired with itself, which makes the expectation
            independent of n, and a value below 0 possible.
        scale: what MMD^2 is multiplied with.
    """

    name: str
    error: str
    unbiased: bool
    scale = 1.0
    needs_real_features = True

    @abstractmethod
    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """k of each of one side's features [A, F] and each of the other's [B, F]; [A, B]
        float64."""

    @property
    def may_be_negative(self) -> bool:
        """Only where it is unbiased."""
        return self.unbiased

    def images_needed(self, features: int) -> tuple[int, int]:
        """Two or more; as many as have their features kept."""
        return 2, MOST_NUMBERS // features

    def part(self, features: Tensor) -> KeptFeatures:
        """All of them."""
        return KeptFeatures(features)

    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        """The distance, its error by the jackknife over the groups, and where it depends on n its
        value at smaller n."""
        features = torch.cat([group.features for group in groups])
        if not features.isfinite().all():
            return Estimate(math.nan)
        sums = self._sums(real, features, tuple(len(group.features) for group in groups))
        count = len(groups)

        def value(chosen: Sequence[int]) -> float:
            return self.scale * sums.distance(chosen, self.unbiased)

        smaller = tuple(
            (len(features) // parts, _mean_over_parts(value, count, parts))
            for parts in PARTS
            if not self.unbiased and parts <= count and len(features) // parts > 1
        )
        numbers = range(count)
        enough = len(features) - max(sums.sizes) > 1  # what is left has a pair
        error = jackknife(value, numbers) if enough else None
        return Estimate(value(numbers), error, smaller, spread_of(real, features))

    def of_real_images(self, real: RealImages, images: int) -> float:
        """The expectation for images drawn as the real ones were."""
        if self.unbiased:
            return 0.0
        own, between = real.once(f"{self.name} means", self._real_means)
        count = len(real.known())
        # Of the pairs of each side a share of 1/n and 1/N is an image and itself, which lie by so
        # much closer than two images.
        apart = count / (count - 1) * (own - between)
        return self.scale * apart * (1 / images + 1 / count)

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """The same for any number of them."""
        return self.estimate(real, [KeptFeatures(features[None].expand(2, -1))]).value

    def _sums(self, real: RealImages, features: Tensor, sizes: tuple[int, ...]) -> KernelSums:
        known = real.known()
        count, groups = len(known), len(sizes)
        own, between = real.once(f"{self.name} means", self._real_means)
        number = torch.arange(groups, device=features.device)
        member = number.repeat_interleave(torch.tensor(sizes, device=features.device))
        belongs = functional.one_hot(member, groups).double()
        return KernelSums(
            self._summed(features, belongs, features, belongs),
            belongs.T @ self._own(features),
            self._summed(features, belongs, known, belongs.new_ones(count, 1))[:, 0],
            sizes,
            (count * between - own) / (count - 1) if self.unbiased else between,
            count,
        )

    def _real_means(self, features: Tensor) -> tuple[float, float]:
        """Of an image with itself, and over all pairs, those included."""
        ones = features.new_ones(len(features), 1, dtype=torch.float64)
        total = float(self._summed(features, ones, features, ones))
        return float(self._own(features).mean()), total / len(features) ** 2

    def _own(self, features: Tensor) -> Tensor:
        """k of each image and itself; [n] float64."""
        rows = torch.split(features, 1024)
        return torch.cat([self.kernel(part, part).diagonal() for part in rows])

    def _summed(self, one: Tensor, of_one: Tensor, other: Tensor, of_other: Tensor) -> Tensor:
        """Sums of k between groups: sides [n, F] and [m, F], members [n, G] and [m, H]; [G, H]."""
        size = max(1, BLOCK // max(1, len(other)))
        found = one.new_zeros(of_one.shape[1], of_other.shape[1], dtype=torch.float64)
        for rows, members in zip(torch.split(one, size), torch.split(of_one, size), strict=True):
            found += members.T @ (self.kernel(rows, other) @ of_other)
        return found


def _mean_over_parts(value: Callable[[Sequence[int]], float], count: int, parts: int) -> float:
    """The mean over disjoint parts of near equal size."""
    cuts = np.linspace(0, count, parts + 1).round().astype(int)
    found = [value(range(a, b)) for a, b in itertools.pairwise(cuts)]
    return math.fsum(found) / parts
