"""Features for small images: pixels whitened by the real images' covariance.

A classifier's features make a degenerate objective on digits: they do not see pixel noise, so
that sampling every token at once scores best. Whitened pixels see every direction in which real
images vary, each at its own scale; the ridge keeps directions in which they do not vary (the
corners are always black) from counting without bound.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.hashes import numbers_hash

RIDGE = 0.01


class WhitenedPixels(nn.Module):
    """x -> (C + RIDGE I)^(-1/2) (x - m), with m, C the real pixels' mean and covariance.

    Args:
        real: images [N, ...] in [0, 1], N >= 2.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, real: Tensor) -> None:
        super().__init__()
        pixels = real.flatten(1).double()
        self.num_features = pixels.shape[1]
        values, vectors = torch.linalg.eigh(pixels.T.cov())
        matrix = vectors * (values.clamp(min=0) + RIDGE).rsqrt() @ vectors.T
        self.register_buffer("mean", pixels.mean(0))
        self.register_buffer("matrix", matrix)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, ...] in [0, 1] to features [B, F], float64."""
        return (images.flatten(1).double() - self.mean) @ self.matrix

    def hash(self) -> str:
        """SHA-256 of the module's numbers."""
        return numbers_hash(self.mean, self.matrix)
