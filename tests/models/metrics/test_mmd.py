from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.metrics.kernel import MOST_NUMBERS
from models.metrics.metric import Estimate, RealImages, statistics_of
from models.metrics.mmd import MMD

WIDTH = 8


def drawn(n: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn((n, WIDTH), generator=generator, dtype=torch.float64) + shift


def mmd(real: Tensor, made: Tensor, groups: int = 20) -> Estimate:
    metric = MMD()
    parts = [metric.part(group) for group in torch.tensor_split(made, groups)]
    return metric.estimate(RealImages(statistics_of(real), real), parts)


def published(x: Tensor, y: Tensor) -> float:
    """The formula of CMMD's distance.py."""

    def mean(one: Tensor, other: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(one, other).square() / (2 * 10**2)).mean()

    return float(1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y)))


def test_it_is_the_published_formula() -> None:
    real, made = drawn(150, 1), drawn(100, 2, 1.0)
    assert mmd(real, made).value == pytest.approx(published(real, made), rel=1e-6)
    assert mmd(real, real).value == pytest.approx(0, abs=1e-9)


def test_at_smaller_n_it_is_that_of_fewer_images() -> None:
    real, made = drawn(150, 1), drawn(200, 2, 1.0)
    found = dict(mmd(real, made).value_at)
    for n, parts in ((100, 2), (50, 4)):
        values = [published(real, part) for part in made.chunk(parts)]
        assert found[n] == pytest.approx(sum(values) / parts, rel=1e-6)


def test_what_real_images_have_is_the_mean_over_draws() -> None:
    real = drawn(1000, 1)
    expected = MMD().of_real_images(RealImages(statistics_of(real), real), 60)
    found = torch.tensor([published(real, drawn(60, 10 + seed)) for seed in range(40)])
    assert float(found.mean()) == pytest.approx(expected, abs=3 * float(found.std()) / 40**0.5)


def test_features_that_are_kept_are_bounded() -> None:
    assert MMD().images_needed(2048) == (2, MOST_NUMBERS // 2048)
