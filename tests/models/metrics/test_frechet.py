from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from models.data.digits import digits, tokens_to_images
from models.features.features import PixelsAndClasses
from models.metrics.frechet import Sums, frechet_distance
from models.metrics.metric import statistics_of
from models.threads import one_thread


class Pixels(nn.Module):
    """The pixels themselves."""

    num_features = 4

    def forward(self, images: Tensor) -> Tensor:
        """[B, 2, 2] to [B, 4]."""
        return images.flatten(1)


@pytest.fixture(scope="module")
def real_images() -> Tensor:
    return tokens_to_images(digits()[0])


@pytest.fixture(scope="module")
def features(real_images: Tensor) -> PixelsAndClasses:
    return PixelsAndClasses.fit(real_images, digits()[1])


def images(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn((4, 4), generator=generator)
    return (torch.randn((n, 4), generator=generator) @ mix + seed).view(n, 2, 2)


def test_it_is_the_formula() -> None:
    one, two = (statistics_of(Pixels()(images(300, seed))) for seed in (1, 2))
    c1, c2 = one.covariance.numpy(), two.covariance.numpy()
    expected = ((one.mean - two.mean).square().sum() + np.trace(c1 + c2)).item()
    expected -= 2 * np.trace(np.real(sqrtm(c1 @ c2)))
    assert float(frechet_distance(one, two)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(one, one)) == pytest.approx(0, abs=1e-9)


def test_streamed_sums_are_the_whole_sets_statistics_over_n_minus_1() -> None:
    fake = images(200, 2).flatten(1).double()
    parts = [Sums(part.sum(0), part.T @ part, len(part)) for part in fake.split(30)]
    found = sum(parts[1:], start=parts[0]).statistics()
    np.testing.assert_allclose(found.covariance, np.cov(fake.numpy().T), rtol=1e-9)
    torch.testing.assert_close(found.mean, fake.mean(0))


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least 2 images for a covariance, got 1"):
        Sums(torch.zeros(4), torch.zeros(4, 4), 1).statistics()


def test_a_generator_that_diverged_has_no_distance() -> None:
    broken = images(100, 2)
    broken[3, 0, 0] = torch.nan
    one, other = (statistics_of(Pixels()(made)) for made in (images(300, 1), broken))
    assert math.isnan(float(frechet_distance(one, other)))


def test_hashes_are_the_same_on_any_number_of_threads(
    real_images: Tensor, features: PixelsAndClasses
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = PixelsAndClasses.fit(real_images, digits()[1])
        statistics = statistics_of(again(real_images))
    finally:
        torch.set_num_threads(threads)
    with one_thread():
        assert again.hash() == features.hash()
        assert statistics.hash() == statistics_of(features(real_images)).hash()
    half = statistics_of(features(real_images[:900]))
    assert half.hash() != statistics.hash()


def test_one_thread_gives_the_threads_back() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def blurred(real: Tensor) -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line)[None, None]
    return torch.nn.functional.conv2d(real[:, None], kernel, padding=1)[:, 0]


def salted(real: Tensor) -> Tensor:
    chance = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    return real.masked_fill(chance < 0.05, 1.0)


def without_a_class(real: Tensor) -> Tensor:
    return real[digits()[1] != 3]


def duplicated(real: Tensor) -> Tensor:
    return real[:100].repeat(17, 1, 1)


@pytest.mark.parametrize("spoil", [salted, blurred, without_a_class, duplicated])
def test_what_is_wrong_with_images_is_seen(
    spoil: Callable[[Tensor], Tensor], real_images: Tensor, features: PixelsAndClasses
) -> None:
    """Far more than the noise: the spread of the distance between random halves of the real."""
    generator = torch.Generator().manual_seed(0)
    halves = []
    for _ in range(8):
        order = torch.randperm(len(real_images), generator=generator)
        one, other = (statistics_of(features(real_images[half])) for half in order.chunk(2))
        halves.append(float(frechet_distance(one, other)))
    real = statistics_of(features(real_images))
    found = statistics_of(features(spoil(real_images)))
    assert float(frechet_distance(real, found)) > 10 * np.std(halves, ddof=1)
