"""The Fréchet distance between the features of real and generated images ("FID").

The sums are torchmetrics': float64, streamed, so that memory does not grow with n. The real side
is precomputed, and the distance takes symmetric eigenvalues in float64 where torchmetrics takes
eigenvalues of a matrix that is not symmetric. F: features an image.

Sums stay where the features were computed, and a distance is computed where its sums are: on the
CPU, its eigenvalues would take longer than a GPU's features. Who holds the real side moves it there
once (`Statistics.to`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from models.hashes import numbers_hash


@dataclass(frozen=True)
class Statistics:
    """Mean [F] and covariance [F, F] (over n - 1) of n images' features, float64; a published
    file does not say n."""

    mean: Tensor
    covariance: Tensor
    images: int | None

    @functools.cached_property
    def root(self) -> Tensor:
        """The symmetric root of the covariance; [F, F]."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return root

    def to(self, device: str | torch.device) -> Statistics:
        """These statistics on a device; the same object where they are there. Their root is taken
        anew there, so that it does not tell by its last digits where they were before."""
        mean = self.mean.to(device)
        if mean is self.mean:
            return self
        return Statistics(mean, self.covariance.to(device), self.images)

    def hash(self) -> str:
        """SHA-256 of the numbers."""
        n = () if self.images is None else (torch.tensor(self.images),)
        return numbers_hash(self.mean, self.covariance, *n)


@dataclass(frozen=True)
class Sums:
    """Of features [F], of their outer products [F, F], and how many images; float64."""

    features: Tensor
    outer: Tensor
    images: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.features + other.features, self.outer + other.outer, self.images + other.images
        )

    def statistics(self) -> Statistics:
        """Mean and covariance.

        Raises:
            ValueError: fewer than two images.
        """
        if self.images < 2:
            raise ValueError(f"{self.images} images have no covariance; at least 2 are needed")
        mean = self.features / self.images
        centred = self.outer - self.images * torch.outer(mean, mean)
        return Statistics(mean, centred / (self.images - 1), self.images)


class FrechetDistance(FrechetInceptionDistance):
    """torchmetrics' FID with given real statistics.

    Args:
        features: a module from a batch of images to features [B, F], with `num_features` = F.
        real: the real side.

    Raises:
        ValueError: the statistics have another width than the features.
    """

    def __init__(self, features: nn.Module, real: Statistics) -> None:
        super().__init__(feature=features, reset_real_features=False)
        width = len(self.real_features_sum)
        if real.mean.shape != (width,) or real.covariance.shape != (width, width):
            raise ValueError(
                f"the real statistics have the width {tuple(real.mean.shape)}, the features {width}"
            )
        self._real = real

    def take_sums(self) -> Sums:
        """The sums of the generated images since the last call."""
        taken = Sums(
            self.fake_features_sum.clone(),
            self.fake_features_cov_sum.clone(),
            int(self.fake_features_num_samples),
        )
        self.reset()
        return taken

    def compute(self) -> Tensor:
        """The distance, a float64 scalar; not finite where the features are not.

        Raises:
            ValueError: fewer than two images were generated.
        """
        sums = self.fake_features_sum, self.fake_features_cov_sum
        fake = Sums(*sums, int(self.fake_features_num_samples)).statistics()
        return frechet_distance(self._real, fake)


def feature_statistics(features: nn.Module, images: Tensor) -> Statistics:
    """Statistics of a tensor of images that fits into memory.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images have no covariance; at least 2 are needed")
    with torch.inference_mode():
        found = features(images).double()
    return Statistics(found.mean(0), found.T.cov(), len(images))


def frechet_distance(real: Statistics, fake: Statistics) -> Tensor:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), a float64 scalar (Heusel et al. 2017, eq. 6),
    of two sides on one device.

    The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which
    is symmetric. NaN where a side is not finite.
    """
    if not (fake.covariance.isfinite().all() and fake.mean.isfinite().all()):
        return torch.tensor(torch.nan, dtype=torch.float64)
    product = real.root @ fake.covariance @ real.root
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
    cross = eigenvalues.clamp(min=0).sqrt().sum()
    difference = (real.mean - fake.mean).square().sum()
    distance: Tensor = difference + real.covariance.trace() + fake.covariance.trace() - 2 * cross
    return distance
