"""FID on the leading principal directions of the real features: few images, many features.

FID of F features needs more than F images, and is dominated by its bias until there are many more.
Along the directions in which real images vary most the same distance needs only as many images as
there are directions. It is at most FID, and blind to the other directions: it is a metric to search
with where n has to be below F, and FID is the one to report. docs/few-images.md compares them.
F: features per image, D: directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from models.metrics.anchors import mean_of_halvings
from models.metrics.fid import FID
from models.metrics.frechet import Statistics, Sums
from models.metrics.metric import Estimate, RealImages

DIRECTIONS = 128
"""The most directions; 128 of a random network's 2,048 hold 93 % of the variance of letters."""


class LeadingFID(FID):
    """FID on the leading directions (see `models.metrics.metric.Metric`).

    Args:
        directions: how many are seen at most, D.
    """

    name = "fid-leading"

    def __init__(self, directions: int = DIRECTIONS) -> None:
        self._directions = directions

    def images_needed(self, features: int) -> tuple[int, None]:
        """See `Metric`; with n <= D the covariance would be singular."""
        return super().images_needed(min(features, self._directions))

    def estimate(self, real: RealImages, groups: Sequence[Sums]) -> Estimate:
        """Return the distance along the directions.

        The value is not finite if the features are not.
        """
        basis = self.basis(real.statistics)
        turned = [
            Sums(one.features @ basis, basis.T @ one.outer @ basis, one.images) for one in groups
        ]
        return super().estimate(RealImages(along(real.statistics, basis)), turned)

    def of_real_images(self, real: RealImages, images: float) -> float | None:
        """See `Anchored`; known where the features of all real images are."""
        if not real.can_be_halved:
            return None
        basis = self.basis(real.statistics)
        key = f"{self.name} {self._directions}"
        halves = real.once(key, lambda found: mean_of_halvings(found.double() @ basis))
        return halves.at(images)

    def of_constant_image(self, real: RealImages, features: Tensor) -> float:
        """See `Anchored`."""
        basis = self.basis(real.statistics)
        seen = RealImages(along(real.statistics, basis))
        return super().of_constant_image(seen, features.double() @ basis)

    def basis(self, real: Statistics) -> Tensor:
        """Return the directions in which real images vary most, orthonormal, [F, at most D]."""
        return real.principal_directions[:, -self._directions :]


def along(statistics: Statistics, basis: Tensor) -> Statistics:
    """Return statistics along directions [F, D]."""
    covariance = basis.T @ statistics.covariance @ basis
    return replace(statistics, mean=statistics.mean @ basis, covariance=covariance)
