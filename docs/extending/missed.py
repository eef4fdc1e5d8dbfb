"""A metric of one's own: the share of real images that no generated one comes close to, which is
1 - recall of Kynkäänniemi et al. (2019) with one neighbour."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.metrics.metric import Estimate, KeptFeatures, RealImages, jackknife


class Missed:
    """Close is what lies no farther from a generated image than from the next real one."""

    name = "missed"
    error = "The jackknife's, over groups of the generated images."
    may_be_negative = False
    needs_real_features = True

    def images_needed(self, features: int) -> tuple[int, int]:
        """At least two, and no more than a matrix of distances can have rows."""
        return 2, 10_000

    def part(self, features: Tensor) -> KeptFeatures:
        """The features themselves."""
        return KeptFeatures(features)

    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        """In [0, 1]."""
        near = real.once("near", reach)

        def value(kept: Sequence[KeptFeatures]) -> float:
            made = torch.cat([group.features for group in kept])
            apart = torch.cdist(real.known(), made).amin(1)
            if not apart.isfinite().all():
                return float("nan")
            return float((apart > near).double().mean())

        return Estimate(value(groups), jackknife(value, groups))


def reach(real: Tensor) -> Tensor:
    """How far the next real image is, [N] of [N, F]."""
    return torch.cdist(real, real).fill_diagonal_(torch.inf).amin(1)
