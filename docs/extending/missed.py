"""A metric of your own: the share of real images that no generated image comes close to, which is
1 - recall of Kynkäänniemi et al. (2019) with one neighbour."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.metrics.metric import Estimate, KeptFeatures, RealImages, jackknife


class Missed:
    """A real image is missed if its nearest real neighbour is nearer than any generated image."""

    name = "missed"
    may_be_negative = False
    needs_real_features = True

    def images_needed(self, features: int) -> tuple[int, int]:
        """Return at least two images, and at most as many as fit into a matrix of distances."""
        return 2, 10_000

    def part(self, features: Tensor) -> KeptFeatures:
        """Keep the features themselves."""
        return KeptFeatures(features)

    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        """Estimate the share, in [0, 1]."""
        near = real.once("near", reach)

        def value(kept: Sequence[KeptFeatures]) -> float:
            made = torch.cat([group.features for group in kept])
            apart = torch.cdist(real.known(), made).amin(1)
            if not apart.isfinite().all():
                return float("nan")
            return float((apart > near).double().mean())

        return Estimate(value(groups), jackknife(value, groups))


def reach(real: Tensor) -> Tensor:
    """Return the distance [N] of each real image [N, F] to its nearest real neighbour."""
    return torch.cdist(real, real).fill_diagonal_(torch.inf).amin(1)
