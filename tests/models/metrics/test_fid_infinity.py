from __future__ import annotations

import math

import pytest
import torch

from models.metrics.fid import FID
from models.metrics.fid_infinity import FIDInfinity
from models.metrics.frechet import Statistics
from models.metrics.metric import RealImages, load_metric, statistics_of

WIDTH = 24


def normal(spread: float, seed: int) -> Statistics:
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(WIDTH, WIDTH, generator=random, dtype=torch.float64) / WIDTH**0.5
    return Statistics(
        torch.zeros(WIDTH).double(), spread * (mixed @ mixed.T + torch.eye(WIDTH)), None
    )


def drawn(of: Statistics, images: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(images, WIDTH, generator=random, dtype=torch.float64) @ of.root


def values(metric: FID | FIDInfinity, real: Statistics, of: Statistics, images: int) -> list[float]:
    found = []
    for seed in range(40):
        part = metric.part(drawn(of, images, seed))
        found.append(metric.estimate(RealImages(real), [part]).value)
    return found


@pytest.mark.parametrize("spread", [0.5, 1.0, 1.6])
def test_its_mean_is_the_fid_of_infinitely_many_images(spread: float) -> None:
    real, fake = normal(1.0, 0), normal(spread, 1)
    truth = float((real.covariance + fake.covariance).trace())
    truth -= 2 * float(torch.linalg.eigvalsh(real.root @ fake.covariance @ real.root).sqrt().sum())
    plain = torch.tensor(values(FID(), real, fake, 10 * WIDTH))
    ours = torch.tensor(values(FIDInfinity(), real, fake, 10 * WIDTH))
    error = float(ours.std() / math.sqrt(len(ours)))
    assert plain.mean() - truth > 10 * error
    assert abs(float(ours.mean()) - truth) < 0.05 * float(plain.mean() - truth) + 2 * error
    assert ours.std() < 1.1 * plain.std()


@pytest.mark.parametrize("images", [WIDTH + 2, 29, 40])
def test_so_it_is_with_hardly_more_images_than_features(images: int) -> None:
    real, fake = normal(1.0, 0), normal(1.0, 1)
    truth = float((real.covariance + fake.covariance).trace())
    truth -= 2 * float(torch.linalg.eigvalsh(real.root @ fake.covariance @ real.root).sqrt().sum())
    plain = torch.tensor(values(FID(), real, fake, images)) - truth
    ours = torch.tensor(values(FIDInfinity(), real, fake, images)) - truth
    assert abs(float(ours.mean())) < 0.05 * float(plain.mean())
    assert ours.std() < 1.25 * plain.std()


def test_what_is_stated_beside_the_value_is_that_of_fid() -> None:
    real, features = normal(1.0, 0), drawn(normal(1.0, 1), 200, 0)
    one, other = load_metric("fid-infinity"), FID()
    groups = [one.part(features[i::4]) for i in range(4)]
    found, plain = one.estimate(RealImages(real), groups), other.estimate(RealImages(real), groups)
    assert found.value < plain.value
    assert found.standard_error == plain.standard_error
    assert found.spread == plain.spread
    assert found.value_at == ()


def test_infinitely_many_real_images_are_no_further_than_the_known_ones_are_few() -> None:
    known = drawn(normal(1.0, 0), 400, 0)
    real = RealImages(statistics_of(known), known)
    # The distance of 400 images from infinitely many of the same kind.
    expected = sum(values(FIDInfinity(), real.statistics, normal(1.0, 0), 10_000)) / 40
    assert FIDInfinity().of_real_images(real, 100) == pytest.approx(expected, rel=0.2)
    assert FIDInfinity().of_real_images(RealImages(real.statistics), 100) is None


def test_it_is_not_finite_if_the_features_are_not() -> None:
    features = drawn(normal(1.0, 1), 60, 0)
    features[0] = math.nan
    metric = FIDInfinity()
    found = metric.estimate(RealImages(normal(1.0, 0)), [metric.part(features)])
    assert math.isnan(found.value)
