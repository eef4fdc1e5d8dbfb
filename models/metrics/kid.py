"""KID, the kernel inception distance (Bińkowski et al. 2018, "Demystifying MMD GANs")."""

from __future__ import annotations

from torch import Tensor

from models.metrics.kernel import KernelDistance


class KID(KernelDistance):
    """MMD^2 with the kernel (x.y / F + 1)^3, over all pairs of images.

    The published number is a mean over subsets of 1,000 images; using all pairs has the same
    expectation and less noise. KID is unbiased, so n may be small, and it may be negative if the
    generated images are as good as real ones.
    """

    name = "kid"
    unbiased = True

    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """Return (x.y / F + 1)^3; [A, B]."""
        cubed: Tensor = ((one @ other.T).double() / one.shape[1] + 1) ** 3
        return cubed
