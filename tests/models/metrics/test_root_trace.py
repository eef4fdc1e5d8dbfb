from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.metrics.root_trace import root_trace

WIDTH = 120
TRUE = torch.exp(-0.03 * torch.arange(WIDTH, dtype=torch.float64))
"""The eigenvalues of the covariance from which images are drawn."""


def eigenvalues(images: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randn(images, WIDTH, generator=random, dtype=torch.float64) * TRUE.sqrt()
    return torch.linalg.eigvalsh(drawn.T.cov()).clamp(min=0)


def around_all(values: Tensor, images: int) -> float:
    """The integral of Tiomoko and Couillet, on an ellipse of log z around all eigenvalues: 1 / (pi
    i) times n times that of (-m(z))^(1/2), with m the companion Stieltjes transform."""
    freedom, nodes = images - 1, 2000
    ratio = len(values) / freedom
    low = math.log(float(values.min()) * (1 - ratio) / 4)
    high = math.log(float(values.max()) * 4)
    angle = (torch.arange(nodes, dtype=torch.float64) + 0.5) * math.pi / nodes
    z = torch.complex((low + high) / 2 + (high - low) / 2 * angle.cos(), angle.sin()).exp()
    dz = z * torch.complex(-(high - low) / 2 * angle.sin(), angle.cos()) * math.pi / nodes
    companion = (1 / (values - z[:, None])).sum(1) / freedom - (1 - ratio) / z
    return 2 * freedom * float((torch.sqrt(-companion) * dz).sum().imag) / math.pi


@pytest.mark.parametrize("images", [130, 180, 400])
def test_it_is_the_published_integral(images: int) -> None:
    values = eigenvalues(images, 0)
    assert root_trace(values, images) == pytest.approx(around_all(values, images), rel=1e-9)


@pytest.mark.parametrize("images", [WIDTH + 1, WIDTH + 2, 150, 180, 400])
def test_few_images_give_that_of_infinitely_many(images: int) -> None:
    truth = float(TRUE.sqrt().sum())
    drawn = [eigenvalues(images, seed) for seed in range(20)]
    ours = torch.tensor([root_trace(values, images) for values in drawn])
    plain = torch.tensor([float(values.sqrt().sum()) for values in drawn])
    error = float(ours.std()) / 20**0.5
    assert plain.mean() - truth < -8 * error
    assert abs(float(ours.mean()) - truth) < 3 * error
    assert ours.std() < 1.2 * plain.std()


@pytest.mark.parametrize("images", [70, 100])
def test_fewer_images_than_features_leave_less_than_half_of_the_bias(images: int) -> None:
    truth = float(TRUE.sqrt().sum())
    values = eigenvalues(images, 0)
    plain, ours = float(values.sqrt().sum()), root_trace(values, images)
    assert plain < ours < truth
    assert truth - ours < 0.5 * (truth - plain)


def test_units_do_not_matter_and_directions_without_variance_do_not_count() -> None:
    values = eigenvalues(150, 0)
    found = root_trace(values, 150)
    assert root_trace(1e-6 * values, 150) == pytest.approx(1e-3 * found, rel=1e-9)
    more = torch.cat([values, torch.zeros(5), torch.full((5,), 1e-13)])
    assert root_trace(more, 150) == pytest.approx(found, rel=1e-9)
    assert root_trace(torch.zeros(4), 10) == 0
