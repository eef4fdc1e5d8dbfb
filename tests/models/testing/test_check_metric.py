from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.metrics.fid import FID
from models.metrics.kid import KID
from models.metrics.metric import Estimate, KeptFeatures, Metric, RealImages
from models.metrics.mmd import MMD
from models.testing.metrics import check_metric


@pytest.mark.parametrize("made", [FID, KID, MMD])
def test_ours_pass(made: Callable[[], Metric]) -> None:
    check_metric(made())


class Named(MMD):
    name = "My metric"


class Negative(KID):
    may_be_negative = False  # type: ignore[assignment]


class Ordered(MMD):
    """It believes the first group."""

    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        return super().estimate(real, groups[:1])


class Upside(MMD):
    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        found = super().estimate(real, groups)
        return replace(found, value=-found.value)


class Sure(FID):
    def estimate(self, real: RealImages, groups: Sequence[object]) -> Estimate:
        found = super().estimate(real, groups)  # type: ignore[arg-type]
        error = found.standard_error
        return replace(found, standard_error=None if error is None else error / 3)


class Forgiving(MMD):
    """It looks past features that are not finite."""

    def part(self, features: Tensor) -> KeptFeatures:
        return KeptFeatures(torch.nan_to_num(features))


class Tensors(MMD):
    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        found = super().estimate(real, groups)
        return replace(found, value=torch.tensor(found.value))  # type: ignore[arg-type]


class Demanding(MMD):
    def images_needed(self, features: int) -> tuple[int, int]:
        return 10, 5


class Biased(MMD):
    def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        found = super().estimate(real, groups)
        return replace(found, value=found.value + 500)


class Uncertain(FID):
    def estimate(self, real: RealImages, groups: Sequence[object]) -> Estimate:
        found = super().estimate(real, groups)  # type: ignore[arg-type]
        return replace(found, value_at=((10**6, 1.0),) if math.isfinite(found.value) else ())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Named, "name = 'My metric', expected only lower-case letters"),
        (Demanding, "images_needed\\(1\\) = \\(10, 5\\)"),
        (Negative, "may_be_negative is False, but a value is"),
        (Upside, "expected a lower value for the real images"),
        (Biased, "expected a value of about 0"),
        (Ordered, "with the images in another order the value is"),
        (Forgiving, "features that are not finite have the value"),
        (Tensors, "expected a Python float"),
        (Sure, "the mean standard error is"),
        (Uncertain, "value_at has n = "),
    ],
)
def test_what_is_broken_is_named(broken: Callable[[], Metric], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_metric(broken())
