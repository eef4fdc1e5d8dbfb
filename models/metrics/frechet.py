"""The Fréchet distance between the features of real and generated images ("FID").

The sums are float64 and streamed, so that memory does not grow with n. The statistics of the real
images are precomputed. The distance uses eigenvalues of a symmetric matrix in float64.
F: features per image.

Sums stay on the device of the features, and a distance is computed on the device of its sums,
because eigenvalues on the CPU would take longer than features on a GPU. The statistics of the real
images have to be moved to that device once (`Statistics.to`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from models.hashes import numbers_hash


@dataclass(frozen=True)
class Statistics:
    """The statistics of the features of n images, float64.

    Attributes:
        mean: their mean, [F].
        covariance: their covariance, with the divisor n - 1, [F, F].
        images: n; None for a published file, which does not say.
    """

    mean: Tensor
    covariance: Tensor
    images: int | None

    @functools.cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance; [F, F]."""
        values, vectors = self._eigen
        root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return root

    @property
    def principal_directions(self) -> Tensor:
        """The eigenvectors of the covariance, in rising order of their variance; [F, F]."""
        return self._eigen[1]

    @functools.cached_property
    def _eigen(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.covariance)
        return values, vectors

    def to(self, device: str | torch.device) -> Statistics:
        """Return these statistics on a device; the same object if they are there already.

        The root is computed again there, so that its last digits depend on no other device.
        """
        mean = self.mean.to(device)
        if mean is self.mean:
            return self
        return Statistics(mean, self.covariance.to(device), self.images)

    def hash(self) -> str:
        """Return the SHA-256 of the numbers."""
        n = () if self.images is None else (torch.tensor(self.images),)
        return numbers_hash(self.mean, self.covariance, *n)


@dataclass(frozen=True)
class Sums:
    """The sums of features [F] and of their outer products [F, F], and how many images; float64."""

    features: Tensor
    outer: Tensor
    images: int

    @classmethod
    def of(cls, features: Tensor) -> Sums:
        """Return the sums of features [B, F], on their device."""
        found = features.double()
        return cls(found.sum(0), found.T @ found, len(found))

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.features + other.features, self.outer + other.outer, self.images + other.images
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            self.features - other.features, self.outer - other.outer, self.images - other.images
        )

    def statistics(self) -> Statistics:
        """Return mean and covariance.

        Raises:
            ValueError: there are fewer than two images.
        """
        if self.images < 2:
            raise ValueError(f"expected at least 2 images for a covariance, got {self.images}")
        mean = self.features / self.images
        centred = self.outer - self.images * torch.outer(mean, mean)
        return Statistics(mean, centred / (self.images - 1), self.images)


def frechet_distance(real: Statistics, fake: Statistics) -> Tensor:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, eq. 6).

    Both statistics have to be on the same device. The result is a float64 scalar; NaN if the
    statistics are not finite.
    """
    if not is_finite(fake):
        return torch.tensor(torch.nan, dtype=torch.float64)
    return distance_of(real, fake, torch.linalg.eigvalsh(product_of(real, fake)))


def is_finite(fake: Statistics) -> bool:
    """Return whether all numbers are finite."""
    return bool(fake.covariance.isfinite().all() and fake.mean.isfinite().all())


def product_of(real: Statistics, fake: Statistics) -> Tensor:
    """Return C1^(1/2) C2 C1^(1/2), which is symmetric, [F, F]."""
    product = real.root @ fake.covariance @ real.root
    return (product + product.T) / 2


def slope_of(real: Statistics, inverse: Tensor, vectors: Tensor) -> Tensor:
    """Return I - A, the derivative of the distance in C2, [F, F].

    A = C1^(1/2) (C1^(1/2) C2 C1^(1/2))^(-1/2) C1^(1/2).

    Args:
        real: holds C1.
        inverse: the inverse roots of the eigenvalues of `product_of`, [F].
        vectors: its eigenvectors, [F, F].
    """
    slope = -(real.root @ (vectors * inverse) @ vectors.T @ real.root)
    slope.diagonal().add_(1.0)
    return slope


def distance_of(real: Statistics, fake: Statistics, eigenvalues: Tensor) -> Tensor:
    """Return the Fréchet distance, given the eigenvalues [F] of `product_of`.

    The sum of their square roots is the trace of the square root of C1 C2.
    """
    cross = eigenvalues.clamp(min=0).sqrt().sum()
    difference = (real.mean - fake.mean).square().sum()
    distance: Tensor = difference + real.covariance.trace() + fake.covariance.trace() - 2 * cross
    return distance
