"""The MMD of CMMD (Jayasumana et al. 2024, "Rethinking FID")."""

from __future__ import annotations

from torch import Tensor

from models.metrics.kernel import KernelDistance

SIGMA = 10.0


class MMD(KernelDistance):
    """1,000 times MMD^2 with the kernel exp(-|x - y|^2 / (2 SIGMA^2)).

    As published, pairs of an image with itself are included, so that the value is never negative
    and falls with n. CMMD uses features of CLIP of unit length; here any features are used, without
    normalisation.
    """

    name = "mmd"
    unbiased = False
    scale = 1000.0

    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """Return exp(-|x - y|^2 / (2 SIGMA^2)); [A, B]."""
        lengths = one.double().square().sum(1)[:, None] + other.double().square().sum(1)
        apart = lengths - 2 * (one @ other.T).double()
        near: Tensor = (apart.clamp(min=0) / (-2 * SIGMA**2)).exp()
        return near
