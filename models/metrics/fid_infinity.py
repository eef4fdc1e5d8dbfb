"""FID at infinite n from one pass over few images: FID less its bias.

FID is biased upwards by about a constant over n, and the constant depends on the generator (Chong
and Forsyth 2020, "Effectively unbiased FID"): more diverse images have more bias. With few images
per feature it therefore ranks strategies wrongly. Those authors extrapolate a line through FIDs of
several n. Here the bias follows from the eigenvalues that FID needs anyway (see
models.metrics.root_trace), so that no further images are needed, and the differences between
strategies become hardly noisier.
F: features per image, G: groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from models.metrics.fid import FID, Whole, estimate_of_all
from models.metrics.frechet import Sums
from models.metrics.metric import Estimate, RealImages
from models.metrics.root_trace import root_trace


class FIDInfinity(FID):
    """FID less its expected bias (see `models.metrics.metric.Metric`)."""

    name = "fid-infinity"
    may_be_negative = True

    def images_needed(self, features: int) -> tuple[int, None]:
        """See `Metric`; with n <= F a part of the bias stays, and with n < F / 2 much of it."""
        return features // 2 + 2, None

    def estimate(self, real: RealImages, groups: Sequence[Sums]) -> Estimate:
        """Return the FID of all groups less its bias; there are no values at smaller n."""
        found, whole = estimate_of_all(real.statistics, groups)
        return replace(found, value=found.value - expected_bias(whole))

    def of_real_images(self, real: RealImages, images: float) -> float | None:
        """Return the FID that infinitely many real images would have against these, which are
        finitely many; None if it is not known."""
        return super().of_real_images(real, math.inf)


def expected_bias(whole: Whole) -> float:
    """Return by how much the FID of n images exceeds that of infinitely many.

    The mean of the images adds tr(C2) / n, and their covariance 2 tr((C1 C2)^(1/2)) as of
    infinitely many images less the same of these. What is left is of order 1/n: where the features'
    fourth moments are larger than those of a normal distribution the bias is underestimated, and
    where classes come in equal numbers it is overestimated, on letters by a tenth either way.

    Args:
        whole: the n images.

    Returns:
        The bias; NaN if the features are not finite.
    """
    values = whole.eigenvalues.clamp(min=0)
    missing = root_trace(values, whole.images) - float(values.sqrt().sum())
    return whole.variance / whole.images + 2 * missing
