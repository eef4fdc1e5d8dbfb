"""Features of small images: whitened pixels, joined with the probabilities of classes.

The features of a classifier alone make a degenerate objective on digits: they ignore pixel noise,
so that sampling all tokens at once scores best. Whitened pixels represent every direction in which
real images vary, on its own scale. The ridge limits the weight of directions in which they do not
vary, such as the corners, which are always black. Pixels alone hardly notice that a class is
missing: on the digits at n = 1000, the least noticeable missing class changes the value by 1.3
standard deviations of an evaluation; with the probabilities it is 23. The probabilities come from a
formula in closed form, because a trained network would differ from machine to machine.

`models.metrics.metric` shows how features are used; `models.features.image_features.FEATURES` makes
them available by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as nn_functional

from models.hashes import numbers_hash

RIDGE = 0.01
WITHIN_RIDGE = 0.05
CLASS_DEVIATION = 2.0


class Features(nn.Module, ABC):
    """Maps images [B, ...] in [0, 1] to features [B, F], from which metrics are computed.

    Example:
        >>> class MeanColour(Features):
        ...     num_features = 3
        ...     description = "mean colour"
        ...
        ...     def forward(self, images: Tensor) -> Tensor:
        ...         return images.mean((2, 3))
        ...
        ...     def hash(self) -> str:
        ...         return numbers_hash(torch.zeros(0))  # it has no weights
        >>> MeanColour()(torch.ones(2, 3, 8, 8)).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    Attributes:
        num_features: F.
        description: the words that describe the features in a protocol.
    """

    num_features: int
    description: str

    @abstractmethod
    def hash(self) -> str:
        """Return a hash of everything on which the features depend."""


def whitening(covariance: Tensor) -> Tensor:
    """Return (C + RIDGE I)^(-1/2), [F, F], for the covariance C."""
    values, vectors = torch.linalg.eigh(covariance)
    matrix: Tensor = vectors * (values.clamp(min=0) + RIDGE).rsqrt() @ vectors.T
    return matrix


class WhitenedPixels(Features):
    """Whitens pixels: x -> (C + RIDGE I)^(-1/2) (x - m), with m and C those of real images.

    Args:
        mean: m, the mean pixels [F] of real images.
        matrix: (C + RIDGE I)^(-1/2), [F, F].
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.double())
        self.register_buffer("matrix", matrix.double())
        self.num_features = len(mean)
        self.description = "whitened pixels (ridge 0.01)"

    @classmethod
    def fit(cls, real: Tensor) -> Self:
        """Fit to real images [N, ...] in [0, 1], N >= 2."""
        pixels = real.flatten(1).double()
        return cls(pixels.mean(0), whitening(pixels.T.cov()))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, ...] in [0, 1] to features [B, F], float64."""
        return (images.flatten(1).double() - self.mean) @ self.matrix

    def hash(self) -> str:
        """Return the SHA-256 of the module's numbers."""
        return numbers_hash(self.mean, self.matrix)


class PixelsAndClasses(Features):
    """Joins whitened pixels with the probability of each class by a linear discriminant.

    The discriminant models every class as a Gaussian about its mean, with the pooled covariance of
    the whitened pixels plus WITHIN_RIDGE I. The probabilities are scaled so that those of the real
    images have mean 0 and deviation CLASS_DEVIATION.

    Args:
        pixels: whitens P pixels.
        weight: of the discriminant, [P, C].
        bias: of the discriminant, [C].
        mean: the mean probabilities of the real images, [C].
        scale: CLASS_DEVIATION over their deviations, [C].
        side: the side in pixels to which images are first scaled down by averaging; None to take
            them as they are.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        pixels: WhitenedPixels,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        scale: Tensor,
        side: int | None = None,
    ) -> None:
        super().__init__()
        self.pixels, self.side = pixels, side
        numbers = {"weight": weight, "bias": bias, "mean": mean, "scale": scale}
        for name, tensor in numbers.items():
            self.register_buffer(name, tensor.double())
        self.num_features = pixels.num_features + len(bias)
        size = "" if side is None else f" of {side} x {side}"
        self.description = (
            f"{pixels.description}{size} and class probabilities (deviation {CLASS_DEVIATION:g})"
        )

    @classmethod
    def fit(cls, real: Tensor, classes: Tensor, side: int | None = None) -> Self:
        """Fit to real images.

        Args:
            real: real images [N, ...] in [0, 1].
            classes: the classes of the images, [N] int64; each of 0 … C - 1 occurs.
            side: see the class.
        """
        images = _scaled_down(real, side)
        pixels = WhitenedPixels.fit(images)
        white = pixels(images)
        count = int(classes.max()) + 1
        means = torch.stack([white[classes == c].mean(0) for c in range(count)])
        within = white - means[classes]
        pooled = within.T @ within / (len(white) - count)
        pooled += WITHIN_RIDGE * torch.eye(len(pooled), dtype=pooled.dtype)
        weight = torch.linalg.solve(pooled, means.T)
        bias = -(means.T * weight).sum(0) / 2
        found = torch.softmax(white @ weight + bias, dim=1)
        return cls(pixels, weight, bias, found.mean(0), CLASS_DEVIATION / found.std(0), side)

    def probabilities(self, white: Tensor) -> Tensor:
        """Return the probability of each class, [B, C] in [0, 1], given whitened pixels [B, P]."""
        return torch.softmax(white @ self.weight + self.bias, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, ...] in [0, 1] to features [B, F], float64."""
        white = self.pixels(_scaled_down(images, self.side))
        classes = (self.probabilities(white) - self.mean) * self.scale
        return torch.cat([white, classes], dim=1)

    def hash(self) -> str:
        """Return the SHA-256 of the module's numbers."""
        return numbers_hash(
            self.pixels.mean, self.pixels.matrix, self.weight, self.bias, self.mean, self.scale
        )


def _scaled_down(images: Tensor, side: int | None) -> Tensor:
    """Grey images [B, H, W] averaged to [B, side, side], float64."""
    if side is None:
        return images
    return nn_functional.adaptive_avg_pool2d(images.double(), side)
