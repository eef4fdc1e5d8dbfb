"""FID, the Fréchet distance between the features of real and generated images.

The value, its standard error and its bias come from one pass over n generated images, of which only
the sums of each group are kept. The influence of each group gives the standard error. FID at
smaller n is a mean over disjoint parts; a line through these values over 1/n gives FID at infinite
n. F: features per image, G: groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from models.metrics.anchors import constant_distance, mean_of_halvings
from models.metrics.frechet import (
    Statistics,
    Sums,
    distance_of,
    frechet_distance,
    is_finite,
    product_of,
    slope_of,
)
from models.metrics.metric import Estimate, RealImages, at_smaller_n


class FID:
    """The Fréchet distance (see `models.metrics.metric.Metric`)."""

    name = "fid"
    may_be_negative = False
    needs_real_features = False

    def images_needed(self, features: int) -> tuple[int, None]:
        """See `Metric`; with n <= F the covariance would be singular."""
        return features + 1, None

    def part(self, features: Tensor) -> Sums:
        """Return the sums of features [B, F] in float64; memory does not grow with the images."""
        return Sums.of(features)

    def estimate(self, real: RealImages, groups: Sequence[Sums]) -> Estimate:
        """See `estimate`."""
        return estimate(real.statistics, groups)

    def of_real_images(self, real: RealImages, images: float) -> float | None:
        """See `Anchored`; derived from the distance between two halves of the real images."""
        halves = real.halves
        if halves is None and real.can_be_halved:
            halves = real.once("halves", mean_of_halvings)
        return None if halves is None else halves.at(images)

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """See `Anchored`."""
        return constant_distance(real.statistics, features)


def estimate(real: Statistics, groups: Sequence[Sums]) -> Estimate:
    """Estimate FID from the sums of one or more groups of images, on the device of `real`.

    The value is not finite if the features are not. The standard error is that of the infinitesimal
    jackknife (Efron 1982, chapter 6), with groups in place of single images. With few images for
    each feature it is too large, by a fifth to a half at n = 4 F and less (docs/search.md).
    """
    found, whole = estimate_of_all(real, groups)
    if found.standard_error is None:
        return found

    def value(some: Sequence[Sums]) -> float:
        return float(frechet_distance(real, sum(some[1:], some[0]).statistics()))

    return replace(found, value_at=at_smaller_n(value, groups, whole.images, len(real.mean)))


class Whole(NamedTuple):
    """All images of an evaluation.

    Attributes:
        images: n.
        variance: the trace of the covariance of their features.
        eigenvalues: of `product_of`, [F]; NaN if the features are not finite.
    """

    images: int
    variance: float
    eigenvalues: Tensor


def estimate_of_all(real: Statistics, groups: Sequence[Sums]) -> tuple[Estimate, Whole]:
    """Estimate FID as `estimate` does, but without values at smaller n."""
    total = sum(groups[1:], groups[0])
    statistics = total.statistics()
    variance = statistics.covariance.trace()
    ratio = float(variance / real.covariance.trace())
    spread = ratio if math.isfinite(ratio) else None
    if not is_finite(statistics):
        none = torch.full_like(statistics.mean, torch.nan)
        return Estimate(math.nan, None, (), spread), Whole(total.images, math.nan, none)
    values, vectors = torch.linalg.eigh(product_of(real, statistics))
    fid, error = float(distance_of(real, statistics, values)), None
    if len(groups) > 1:
        influences = _influences(real, statistics, groups, values, vectors)
        error = float(influences.std() / math.sqrt(len(groups)))
    return Estimate(fid, error, (), spread), Whole(total.images, float(variance), values)


def _influences(
    real: Statistics, fake: Statistics, groups: Sequence[Sums], values: Tensor, vectors: Tensor
) -> Tensor:
    """Return the influence of each group's mean features on FID; [G], with mean 0.

    d FID = 2 (m2 - m1) dm + tr((I - A) dC), with I - A of `slope_of`, is linear in a group's sums.

    Args:
        real: the statistics of the real images.
        fake: those of all groups.
        groups: their sums.
        values: the eigenvalues of C1^(1/2) C2 C1^(1/2), [F].
        vectors: its eigenvectors, [F, F].
    """
    # The derivative does not exist in directions without variance.
    floor = values.max() * 1e-10
    inverse = torch.where(values > floor, values.clamp(min=floor).rsqrt(), 0.0)
    slope = slope_of(real, inverse, vectors)
    # With a shift s of a group's mean from m2: dC = E[x x'] - m2 m2' - s m2' - m2 s' - C2.
    leaning = slope @ fake.mean
    constant = fake.mean @ leaning + (slope * fake.covariance).sum()
    shifts = torch.stack([group.features / group.images for group in groups]) - fake.mean
    flat = slope.flatten()
    outers = [torch.dot(flat, group.outer.flatten()) / group.images for group in groups]
    return torch.stack(outers) - constant + 2 * shifts @ (fake.mean - real.mean - leaning)
