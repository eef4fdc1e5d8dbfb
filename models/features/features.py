"""Features for small images: whitened pixels, joined with the probabilities of the classes.

A classifier's features make a degenerate objective on digits: they do not see pixel noise, so
that sampling every token at once scores best. Whitened pixels see every direction in which real
images vary, each at its own scale; the ridge keeps directions in which they do not vary (the
corners are always black) from counting without bound. Pixels alone hardly see that a class is
missing (measured on the digits at n = 1000: 1.3 standard deviations of an evaluation for the class
that is missed least; joined with the probabilities, 23), and those come in closed form, for a
network to be trained would give every machine features of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.hashes import numbers_hash

RIDGE = 0.01
WITHIN_RIDGE = 0.05
CLASS_DEVIATION = 2.0


class Features(nn.Module, ABC):
    """What images are measured by: a module from images [B, ...] in [0, 1] to features [B, F].

    Attributes:
        num_features: F.
        description: in words, as a protocol says it.
    """

    num_features: int
    description: str

    @abstractmethod
    def hash(self) -> str:
        """Of all that decides the features."""


def whitening(covariance: Tensor) -> Tensor:
    """(C + RIDGE I)^(-1/2), [F, F]."""
    values, vectors = torch.linalg.eigh(covariance)
    matrix: Tensor = vectors * (values.clamp(min=0) + RIDGE).rsqrt() @ vectors.T
    return matrix


class WhitenedPixels(Features):
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
        self.register_buffer("mean", pixels.mean(0))
        self.register_buffer("matrix", whitening(pixels.T.cov()))
        self.description = "whitened pixels (ridge 0.01)"

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, ...] in [0, 1] to features [B, F], float64."""
        return (images.flatten(1).double() - self.mean) @ self.matrix

    def hash(self) -> str:
        """SHA-256 of the module's numbers."""
        return numbers_hash(self.mean, self.matrix)


class PixelsAndClasses(Features):
    """Whitened pixels and each class's probability by a linear discriminant.

    The discriminant takes every class as a Gaussian about its mean, with the pooled covariance of
    the whitened pixels plus WITHIN_RIDGE I. The probabilities of the real images have mean 0 and
    deviation CLASS_DEVIATION after scaling.

    Args:
        real: images [N, ...] in [0, 1].
        classes: [N] int64; each of 0 … C - 1 occurs.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, real: Tensor, classes: Tensor) -> None:
        super().__init__()
        self.pixels = WhitenedPixels(real)
        white = self.pixels(real)
        count = int(classes.max()) + 1
        means = torch.stack([white[classes == c].mean(0) for c in range(count)])
        within = white - means[classes]
        pooled = within.T @ within / (len(white) - count)
        pooled += WITHIN_RIDGE * torch.eye(len(pooled), dtype=pooled.dtype)
        self.register_buffer("weight", torch.linalg.solve(pooled, means.T))
        self.register_buffer("bias", -(means.T * self.weight).sum(0) / 2)
        probabilities = self.probabilities(white)
        self.register_buffer("mean", probabilities.mean(0))
        self.register_buffer("scale", CLASS_DEVIATION / probabilities.std(0))
        self.num_features = self.pixels.num_features + count
        self.description = f"{self.pixels.description} and class probabilities (deviation 2)"

    def probabilities(self, white: Tensor) -> Tensor:
        """Of each class, from whitened pixels [B, P]; [B, C] in [0, 1]."""
        return torch.softmax(white @ self.weight + self.bias, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, ...] in [0, 1] to features [B, F], float64."""
        white = self.pixels(images)
        classes = (self.probabilities(white) - self.mean) * self.scale
        return torch.cat([white, classes], dim=1)

    def hash(self) -> str:
        """SHA-256 of the module's numbers."""
        return numbers_hash(
            self.pixels.mean, self.pixels.matrix, self.weight, self.bias, self.mean, self.scale
        )
