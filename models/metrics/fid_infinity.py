"""FID at infinite n from one pass over few images: FID less its bias, known in closed form.

FID is biased upwards by about a constant over n, and the constant depends on the generator (Chong
and Forsyth 2020, "Effectively unbiased FID"): more diverse images have more bias. With few images
per feature it therefore ranks strategies wrongly. Those authors extrapolate a line through FIDs of
several n. Here the bias is the expectation of FID's second-order expansion around the true moments,
so that no further images are needed, and the differences between strategies become no noisier.
F: features per image, G: groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.metrics.fid import FID
from models.metrics.frechet import Statistics, Sums, product_of
from models.metrics.metric import Estimate, RealImages


class FIDInfinity:
    """FID less its expected bias (see `models.metrics.metric.Metric`)."""

    name = "fid-infinity"
    error = FID.error.replace("FID", "FID at infinite n")
    may_be_negative = True
    needs_real_features = False

    def __init__(self) -> None:
        self._fid = FID()

    def images_needed(self, features: int) -> tuple[int, None]:
        """See `Metric`; with n <= F the covariance would be singular."""
        return self._fid.images_needed(features)

    def part(self, features: Tensor) -> Sums:
        """Return the sums of features [B, F] in float64; memory does not grow with the images."""
        return self._fid.part(features)

    def estimate(self, real: RealImages, groups: Sequence[Sums]) -> Estimate:
        """Return the FID of all groups less its bias; there are no values at smaller n."""
        found = self._fid.estimate(real, groups)
        whole = sum(groups[1:], start=groups[0])
        bias = expected_bias(real.statistics, whole.statistics(), whole.images)
        return replace(found, value=found.value - bias, value_at=())

    def of_real_images(self, real: RealImages, images: int) -> float:
        """Return 0, the value of infinitely many real images."""
        return 0.0

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """See `Anchored`."""
        return self._fid.of_constant_image(real, features)


def expected_bias(real: Statistics, fake: Statistics, images: int) -> float:
    """Return by how much the FID of n images exceeds that of infinitely many, to order 1/n.

    With r the square roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), and features whose fourth
    moments are those of a normal distribution, it is

        tr(C2) / n + sum over i, j of (1 + [i = j]) r_i r_j / (r_i + r_j) / (2n)

    The first term comes from the mean, the second from the curvature of tr((C1 C2)^(1/2)). Terms of
    higher order are left out, so at n near F a part of the bias stays.

    Args:
        real: the statistics of the real images.
        fake: those of n generated images.
        images: n.

    Returns:
        The bias; NaN if the statistics are not finite.
    """
    if not fake.covariance.isfinite().all():
        return torch.nan
    values = torch.linalg.eigvalsh(product_of(real, fake)).clamp(min=0)
    r = values[values > values.max() * 1e-10].sqrt()
    harmonic = r[:, None] * r[None, :] / (r[:, None] + r[None, :])
    curvature = harmonic.sum() + harmonic.diagonal().sum()
    return float(fake.covariance.trace() + curvature / 2) / images
