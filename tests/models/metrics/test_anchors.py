"""What real images have against real ones, and one image for ever."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.data.digits import digits, tokens_to_images
from models.features.features import PixelsAndClasses
from models.metrics.anchors import Halves, constant_distance, halves_of, mean_of_halvings
from models.metrics.frechet import Statistics, Sums, frechet_distance
from models.metrics.metric import statistics_of


def test_real_images_have_at_any_n_what_is_measured_there() -> None:
    tokens, classes = digits()
    images = tokens_to_images(tokens)
    found = PixelsAndClasses.fit(images, classes)(images)
    halves = mean_of_halvings(found)
    assert (halves.first, halves.second) == (898, 899)
    assert mean_of_halvings(found) == halves
    generator = torch.Generator().manual_seed(1)
    direct = []
    for _ in range(20):
        order = torch.randperm(len(found), generator=generator)
        parts = (found[order[:400]], found[order[400:]])
        few, rest = (Statistics(p.mean(0), p.T.cov(), len(p)) for p in parts)
        direct.append(float(frechet_distance(rest, few)))
    # The direct ones are against those that are left, not against all.
    ours = halves.at(400) * (1 / 400 + 1 / 1397) / (1 / 400 + 1 / 1797)
    assert ours == pytest.approx(sum(direct) / 20, rel=0.1)
    assert halves.at(800) < halves.at(400)


def test_an_image_for_ever_has_no_covariance() -> None:
    tokens, classes = digits()
    images = tokens_to_images(tokens)
    features = PixelsAndClasses.fit(images, classes)
    real = statistics_of(features(images))
    many = statistics_of(features(images[:1].expand(5, -1, -1)))
    expected = float(frechet_distance(real, many))
    assert constant_distance(real, features(images[:1])[0]) == pytest.approx(expected, rel=1e-6)


def test_halves_by_their_sums() -> None:
    x = torch.randn((40, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = [Sums(part.sum(0), part.T @ part, len(part)) for part in (x[:15], x[15:])]
    halves = halves_of(*sums)
    assert halves is not None
    assert (halves.first, halves.second) == (15, 25)
    assert halves.at(15) > halves.at(1000) > 0
    assert halves_of(sums[0], Sums(x[0], torch.outer(x[0], x[0]), 1)) is None


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((-1.0, 5, 5), "distance = -1.0 is not a number >= 0"),
        ((float("nan"), 5, 5), "distance = nan"),
        (("x", 5, 5), "distance = 'x'"),
        ((1.0, 1, 5), "expected a number of images >= 2, got 1"),
        ((1.0, 5, 2.5), "expected a number of images >= 2, got 2.5"),
    ],
)
def test_halves_that_cannot_be(values: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Halves(*values)
