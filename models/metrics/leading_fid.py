"""FID on the leading principal directions of the real features: few images, many features.

FID of F features needs more than F images, and is dominated by its bias until there are many more.
Along the directions in which real images vary most the same distance needs only as many images as
there are directions. It is at most FID, and blind to the other directions: it is a metric to search
with, and FID is the one to report. It is for features of networks, whose variance lies in few
directions; of whitened features the leading ones are no summary. docs/letters.md compares them all.
F: features per image, D: directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from models.metrics.anchors import mean_of_halvings
from models.metrics.fid import FID
from models.metrics.frechet import Statistics, Sums
from models.metrics.metric import Estimate, Metric, RealImages

DIRECTIONS = 128
"""The most directions; 128 of a random network's 2,048 hold 93 % of the variance of letters."""


class LeadingFID:
    """FID on D = min(F, DIRECTIONS) directions (see `models.metrics.metric.Metric`)."""

    name = "fid-leading"
    error = FID.error.replace("FID", "FID on the leading directions")
    may_be_negative = False
    needs_real_features = False

    def __init__(self) -> None:
        self._fid = FID()

    def images_needed(self, features: int) -> tuple[int, None]:
        """See `Metric`; with n <= D the covariance would be singular."""
        return self._fid.images_needed(min(features, DIRECTIONS))

    def part(self, features: Tensor) -> Sums:
        """Return the sums of features [B, F] in float64; memory does not grow with the images."""
        return self._fid.part(features)

    def estimate(self, real: RealImages, groups: Sequence[Sums]) -> Estimate:
        """Return the distance along the directions.

        The value is not finite if the features are not.
        """
        basis = leading_directions(real.statistics)
        turned = [
            Sums(one.features @ basis, basis.T @ one.outer @ basis, one.images) for one in groups
        ]
        return self._fid.estimate(RealImages(along(real.statistics, basis)), turned)

    def of_real_images(self, real: RealImages, images: int) -> float | None:
        """See `Anchored`; known where the features of all real images are."""
        if not real.complete:
            return None
        basis = leading_directions(real.statistics)
        halves = real.once(self.name, lambda found: mean_of_halvings(found.double() @ basis))
        return halves.at(images)

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """See `Anchored`."""
        basis = leading_directions(real.statistics)
        seen = RealImages(along(real.statistics, basis))
        return self._fid.of_constant_image(seen, features.double() @ basis)


def leading_directions(real: Statistics) -> Tensor:
    """Return the directions in which real images vary most, an orthonormal basis [F, D]."""
    return real.principal_directions[:, -DIRECTIONS:]


def along(statistics: Statistics, basis: Tensor) -> Statistics:
    """Return statistics along directions [F, D]."""
    covariance = basis.T @ statistics.covariance @ basis
    return replace(statistics, mean=statistics.mean @ basis, covariance=covariance)


def seen_directions(metric: Metric, real: Statistics) -> Tensor | None:
    """Return the directions [F, D] that a metric sees; None if it sees all features."""
    return leading_directions(real) if isinstance(metric, LeadingFID) else None
