"""The maximum mean discrepancy (MMD) between the features of real and generated images.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), for generated x and real y and any kernel k (Gretton
et al. 2012). Value and error are computed from the sums of k between groups of images, so leaving
out a group costs nothing. The features are kept unchanged on the device where they were computed.
n: generated images, N: real images, F: features per image, G: groups.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.metrics.metric import (
    Estimate,
    KeptFeatures,
    RealImages,
    at_smaller_n,
    jackknife,
    spread_of,
)

MOST_NUMBERS = 2**29
"""The most numbers n x F that are kept: 2 GiB in float32; 262,144 images of 2,048 features."""
BLOCK = 2**22
"""The number of pairs of images whose kernel is computed at a time."""


@dataclass(frozen=True)
class KernelSums:
    """Sums of a kernel over pairs of images, float64.

    Attributes:
        between: the sums over pairs of generated images of two groups, [G, G].
        own: the sums over pairs of a generated image with itself, by group, [G].
        real: the sums over pairs of a generated and a real image, by group, [G].
        sizes: the number of images of each group.
        real_pairs: the mean over those pairs of real images that the estimator uses.
        real_images: N.
    """

    between: Tensor
    own: Tensor
    real: Tensor
    sizes: tuple[int, ...]
    real_pairs: float
    real_images: int

    def distance(self, groups: Sequence[int], unbiased: bool) -> float:
        """Return MMD^2 of some of the groups, given their indices."""
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
    """The base of KID and MMD (see `models.metrics.metric.Metric`), which only add the kernel.

    Attributes:
        unbiased: whether pairs of an image with itself are left out. The expectation then does not
            depend on n, but the value may be negative.
        scale: the factor by which MMD^2 is multiplied.
    """

    name: str
    unbiased: bool
    scale = 1.0
    needs_real_features = True

    @abstractmethod
    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """Return k of all pairs of features [A, F] and [B, F]; [A, B] float64."""

    @property
    def may_be_negative(self) -> bool:
        """Only where it is unbiased."""
        return self.unbiased

    def images_needed(self, features: int) -> tuple[int, int]:
        """Two or more; as many as have their features kept."""
        return 2, MOST_NUMBERS // features

    def part(self, features: Tensor) -> KeptFeatures:
        """See `Metric.part`; all features are kept."""
        return KeptFeatures(features)

    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        """See `Metric.estimate`.

        The standard error is that of the jackknife over groups. The value at smaller n is given
        only if the metric depends on n.
        """
        features = torch.cat([group.features for group in groups])
        if not features.isfinite().all():
            return Estimate(math.nan)
        sums = self._kernel_sums(real, features, tuple(len(group.features) for group in groups))
        count = len(groups)

        def value(chosen: Sequence[int]) -> float:
            return self.scale * sums.distance(chosen, self.unbiased)

        numbers = range(count)
        smaller = () if self.unbiased else at_smaller_n(value, numbers, len(features), 1)
        enough = len(features) - max(sums.sizes) > 1  # without any one group, a pair is left
        error = jackknife(value, numbers) if enough else None
        return Estimate(value(numbers), error, smaller, spread_of(real, features))

    def of_real_images(self, real: RealImages, images: int) -> float:
        """See `Anchored`; the expectation for images from the same distribution."""
        if self.unbiased:
            return 0.0
        own, between = real.once(f"{self.name} means", self._real_means)
        count = len(real.known())
        # A share of 1/n and 1/N of the pairs is an image with itself, whose kernel is larger by
        # this excess than that of two different images.
        excess = count / (count - 1) * (own - between)
        return self.scale * excess * (1 / images + 1 / count)

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """See `Anchored`; it does not depend on the number of images."""
        return self.estimate(real, [KeptFeatures(features[None].expand(2, -1))]).value

    def _kernel_sums(
        self, real: RealImages, features: Tensor, sizes: tuple[int, ...]
    ) -> KernelSums:
        known = real.known()
        count, groups = len(known), len(sizes)
        own, between = real.once(f"{self.name} means", self._real_means)
        number = torch.arange(groups, device=features.device)
        member = number.repeat_interleave(torch.tensor(sizes, device=features.device))
        belongs = functional.one_hot(member, groups).double()
        return KernelSums(
            self._group_sums(features, belongs, features, belongs),
            belongs.T @ self._kernel_with_itself(features),
            self._group_sums(features, belongs, known, belongs.new_ones(count, 1))[:, 0],
            sizes,
            (count * between - own) / (count - 1) if self.unbiased else between,
            count,
        )

    def _real_means(self, features: Tensor) -> tuple[float, float]:
        """Return the mean kernel of an image with itself, and that of all pairs of real images."""
        ones = features.new_ones(len(features), 1, dtype=torch.float64)
        total = float(self._group_sums(features, ones, features, ones))
        return float(self._kernel_with_itself(features).mean()), total / len(features) ** 2

    def _kernel_with_itself(self, features: Tensor) -> Tensor:
        """Return the kernel of each image with itself; [n] float64."""
        rows = torch.split(features, 1024)
        return torch.cat([self.kernel(part, part).diagonal() for part in rows])

    def _group_sums(
        self, one: Tensor, one_groups: Tensor, other: Tensor, other_groups: Tensor
    ) -> Tensor:
        """Return the sums of k between groups, [G, H].

        Args:
            one: features [n, F].
            one_groups: 1 where an image of `one` belongs to a group, else 0; [n, G].
            other: features [m, F].
            other_groups: likewise for `other`; [m, H].
        """
        size = max(1, BLOCK // max(1, len(other)))
        found = one.new_zeros(one_groups.shape[1], other_groups.shape[1], dtype=torch.float64)
        pieces = zip(torch.split(one, size), torch.split(one_groups, size), strict=True)
        for rows, groups in pieces:
            found += groups.T @ (self.kernel(rows, other) @ other_groups)
        return found
