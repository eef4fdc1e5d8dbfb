"""Against torchmetrics' own FID, which gets the real images in place of their statistics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from models.metrics.fid import FID
from models.metrics.frechet import Statistics
from models.metrics.metric import RealImages, statistics_of
from models.metrics.torchmetrics_fid import FrechetDistance


class Pixels(nn.Module):
    """The pixels themselves."""

    num_features = 4

    def forward(self, images: Tensor) -> Tensor:
        """[B, 2, 2] to [B, 4]."""
        return images.flatten(1)


def images(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn((4, 4), generator=generator)
    return (torch.randn((n, 4), generator=generator) @ mix + seed).view(n, 2, 2)


REAL = statistics_of(Pixels()(images(300, 1)))


def test_it_is_the_distance_of_torchmetrics_and_of_a_search() -> None:
    theirs = FrechetInceptionDistance(feature=Pixels()).set_dtype(torch.float64)
    theirs.update(images(300, 1), real=True)
    ours = FrechetDistance(Pixels(), REAL)
    for part in images(200, 2).split(30):
        for metric in (theirs, ours):
            metric.update(part, real=False)
    searched = FID()
    found = searched.estimate(RealImages(REAL), [searched.part(Pixels()(images(200, 2)))])
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()), rel=1e-6)
    assert float(ours.compute()) == pytest.approx(found.value, rel=1e-6)


def test_memory_does_not_grow_with_the_images() -> None:
    distance = FrechetDistance(Pixels(), REAL)

    def numbers() -> int:
        return sum(state.numel() for state in distance.metric_state.values())

    before = numbers()
    for seed in range(5):
        distance.update(images(100, seed), real=False)
    assert numbers() == before


def test_a_generator_that_diverged_has_no_distance() -> None:
    distance = FrechetDistance(Pixels(), REAL)
    broken = images(100, 2)
    broken[3, 0, 0] = torch.nan
    distance.update(broken, real=False)
    assert math.isnan(float(distance.compute()))


def test_bad_sides_are_named() -> None:
    with pytest.raises(ValueError, match="at least 2 images for a covariance, got 0"):
        FrechetDistance(Pixels(), REAL).compute()
    narrow = Statistics(torch.zeros(3), torch.eye(3), 10)
    with pytest.raises(ValueError, match="expected statistics of .* features, got a mean of shape"):
        FrechetDistance(Pixels(), narrow)
