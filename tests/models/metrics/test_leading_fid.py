"""FID on the leading principal directions of the real features."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.metrics.fid import FID
from models.metrics.leading_fid import DIRECTIONS, LeadingFID, along
from models.metrics.metric import Anchored, Estimate, Metric, RealImages, statistics_of

WIDE = DIRECTIONS + 72


def features(width: int, images: int, seed: int, moved: int | None = None) -> Tensor:
    """Features whose variance falls along the axes; `moved` is the axis of a shifted mean."""
    random = torch.Generator().manual_seed(seed)
    found = torch.randn(images, width, generator=random, dtype=torch.float64)
    found *= torch.linspace(3, 0.1, width, dtype=torch.float64)
    if moved is not None:
        found[:, moved] += 2
    return found


def estimate(metric: Metric, real: Tensor, made: Tensor) -> Estimate:
    groups = [metric.part(made[i::5]) for i in range(5)]
    return metric.estimate(RealImages(statistics_of(real), real), groups)


def test_with_few_features_it_is_fid() -> None:
    real, made = features(20, 400, 0), features(20, 200, 1, moved=3)
    found, plain = (estimate(metric, real, made) for metric in (LeadingFID(), FID()))
    assert found.value == pytest.approx(plain.value)
    assert found.standard_error == pytest.approx(plain.standard_error)
    assert found.spread == pytest.approx(plain.spread)
    assert [n for n, _ in found.value_at] == [n for n, _ in plain.value_at]


def test_it_needs_more_images_than_directions_but_not_than_features() -> None:
    metric = LeadingFID()
    assert metric.images_needed(2048) == (DIRECTIONS + 1, None)
    assert metric.images_needed(74) == (75, None)
    assert LeadingFID(8).images_needed(74) == (9, None)
    real, made = features(WIDE, 4000, 0), features(WIDE, DIRECTIONS + 20, 1)
    assert 0 < estimate(metric, real, made).value < math.inf


def test_it_is_the_fid_of_projected_features_and_below_that_of_all() -> None:
    real, made = features(WIDE, 4000, 0), features(WIDE, 600, 1)
    basis = LeadingFID().basis(statistics_of(real))
    assert basis.shape == (WIDE, DIRECTIONS)
    found = estimate(LeadingFID(), real, made)
    assert found.value == pytest.approx(estimate(FID(), real @ basis, made @ basis).value)
    assert found.value < estimate(FID(), real, made).value
    seen = along(statistics_of(real), basis)
    assert seen.covariance.trace() == pytest.approx(float((real @ basis).T.cov().trace()))


def test_it_sees_leading_directions_and_no_others() -> None:
    real = features(WIDE, 4000, 0)
    same, first, last = (
        estimate(LeadingFID(), real, features(WIDE, 600, 1, moved)).value
        for moved in (None, 0, WIDE - 1)
    )
    assert first == pytest.approx(same + 4, rel=0.2)
    assert last == pytest.approx(same, rel=0.05)


def test_it_has_the_anchors_of_fid() -> None:
    metric, real = LeadingFID(), features(20, 400, 0)
    known = RealImages(statistics_of(real), real)
    assert isinstance(metric, Anchored)
    assert metric.of_real_images(known, 100) == pytest.approx(FID().of_real_images(known, 100))
    constant = metric.of_constant_image(known, real[0])
    assert constant == pytest.approx(FID().of_constant_image(known, real[0]))
    assert metric.of_real_images(RealImages(statistics_of(real)), 100) is None
    wide = features(WIDE, 400, 0)
    of_wide = RealImages(statistics_of(wide), wide)
    two, four = (LeadingFID(n).of_real_images(of_wide, 100) for n in (2, 4))
    assert two is not None
    assert four is not None
    assert four > 1.5 * two  # each is that of its own directions


def test_three_real_images_have_no_halves() -> None:
    real = features(2, 3, 0)
    known = RealImages(statistics_of(real), real)
    assert LeadingFID(2).of_real_images(known, 100) is FID().of_real_images(known, 100) is None


def test_it_is_not_finite_if_the_features_are_not() -> None:
    made = features(WIDE, 200, 1)
    made[0, 0] = math.nan
    assert not math.isfinite(estimate(LeadingFID(), features(WIDE, 4000, 0), made).value)
