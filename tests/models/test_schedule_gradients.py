from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from models.metrics.frechet import Statistics, frechet_distance
from models.schedule_gradients import ScoredImages, gradient_of, influences
from search.gradient import Gradient

FEATURES, PLACES = 3, 5
PUSH = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0.5, 0, 0]]).double()
REAL = Statistics(torch.tensor([0.6, -0.3, 0.4]).double(), torch.eye(FEATURES).double(), 1000)
POINT = torch.tensor([0.1, 0.2, 0.0, -0.1, 0.0]).double()


def gaussian_images(point: Tensor, seed: int, images: int = 400) -> ScoredImages:
    """Images of which each value of the point moves the mean: their scores are known exactly."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn((images, FEATURES), generator=random).double()
    return ScoredImages(
        features=point @ PUSH + noise,
        scores=noise @ PUSH.T,
        forecasts=torch.randn((2, images, FEATURES), generator=random).double(),
        classes=torch.arange(images) % 2,
    )


def of(features: Tensor) -> Statistics:
    return Statistics(features.mean(0), features.T.cov(), len(features))


def values(found: Gradient) -> Tensor:
    return torch.tensor(found.values).double()


def test_influences_are_the_change_of_fid_when_an_image_gets_more_weight() -> None:
    features = gaussian_images(torch.zeros(PLACES).double(), 0).features
    found = influences(REAL, of(features), features)
    weight = 1e-4
    for i in (0, 7):
        shift = features[i] - features.mean(0)
        fake = of(features)
        mean = fake.mean + weight * shift
        covariance = (1 - weight) * (fake.covariance + weight * torch.outer(shift, shift))
        change = frechet_distance(REAL, Statistics(mean, covariance, 400))
        slope = float(change - frechet_distance(REAL, fake)) / weight
        assert float(found[i]) == pytest.approx(slope, rel=0.01, abs=0.02)


def test_a_direction_that_never_varied_has_a_finite_influence() -> None:
    features = gaussian_images(torch.zeros(PLACES).double(), 0).features
    features[:, 2] = 0
    one = torch.tensor([[0.0, 0.0, 1.0]]).double()
    assert influences(REAL, of(features), one).abs() < 100


def test_gradients_are_those_of_fid_within_the_errors_that_they_state() -> None:
    exact = 2 * PUSH @ (POINT @ PUSH - REAL.mean)
    found = [gradient_of(gaussian_images(POINT, seed, 1000), REAL, seed) for seed in range(40)]
    every = torch.stack([values(one) for one in found])
    assert (every.mean(0) - exact).abs().max() < 0.05
    stated = torch.stack([torch.from_numpy(one.covariance()).diagonal() for one in found]).mean(0)
    seen = every.var(0)
    moving = exact != 0
    assert torch.allclose(stated[moving].sqrt(), seen[moving].sqrt(), rtol=0.35)
    assert found[0] == gradient_of(gaussian_images(POINT, 0, 1000), REAL, 0)


def test_forecasts_and_classes_that_predict_an_image_take_noise_off() -> None:
    images = gaussian_images(POINT, 3)
    told = ScoredImages(
        images.features, images.scores, torch.stack([images.features] * 2), images.classes
    )
    blind, seeing = (gradient_of(one, REAL).covariance().trace() for one in (images, told))
    assert seeing < 0.2 * blind


def test_few_images_of_many_features_are_judged_with_the_real_covariance() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn((40, 200), generator=random).double()
    real = Statistics(torch.zeros(200).double(), torch.eye(200).double(), 1000)
    images = ScoredImages(
        features,
        features[:, :PLACES],
        torch.zeros((2, 40, 200)).double(),
        torch.zeros(40, dtype=torch.int64),
    )
    assert values(gradient_of(images, real)).abs().max() < 3


def test_fewer_images_than_two_a_fold_have_no_gradient() -> None:
    with pytest.raises(ValueError, match="at least 20 images for a gradient, got 19"):
        gradient_of(gaussian_images(POINT, 0, 19), REAL)


def test_classes_of_single_images_say_nothing() -> None:
    images = gaussian_images(POINT, 1, 60)
    alone = dataclasses.replace(images, classes=torch.arange(60))
    alike = dataclasses.replace(images, classes=torch.zeros(60, dtype=torch.int64))
    found, expected = (values(gradient_of(one, REAL)) for one in (alone, alike))
    assert torch.allclose(found, expected)
    assert found.abs().max() > 0.1
