from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.features.features import Features
from models.metrics.metric import RealImages, load_metric, statistics_of
from trials.objectives.description import describe
from trials.objectives.digits import DigitsObjective
from trials.objectives.evaluator import Evaluator


class Pixels(Features):
    num_features = 4
    description = "the pixels"

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def hash(self) -> str:
        return "sha256:00"


REAL, MADE = torch.rand((2, 120, 2, 2), generator=torch.Generator().manual_seed(0))


def evaluator(metric: str) -> Evaluator:
    features = REAL.flatten(1)
    return Evaluator(load_metric(metric), Pixels(), RealImages(statistics_of(features), features))


def chunks(size: int) -> Iterator[Tensor]:
    yield from torch.split(MADE, size)


@pytest.mark.parametrize("metric", ["fid", "kid", "mmd"])
def test_at_a_rung_it_is_the_number_of_so_many_images(metric: str) -> None:
    first, last = evaluator(metric).estimates(chunks(50), (60, 120), 3)
    alone = list(evaluator(metric).estimates(chunks(7), (120,), 3))
    assert last.value == pytest.approx(alone[0].value, rel=1e-5)
    assert last.standard_error == pytest.approx(alone[0].standard_error, rel=1e-3)
    few = evaluator(metric).estimates(iter([MADE[:60]]), (60,), 3)
    assert first.value == pytest.approx(next(few).value, rel=1e-5)


def test_anchors_are_those_of_the_metric() -> None:
    plain = [torch.zeros(2, 2), torch.ones(2, 2)]
    found = {name: evaluator(name).anchors(60, plain) for name in ("fid", "kid", "mmd")}
    assert all(list(one) == ["real images", "constant image"] for one in found.values())
    assert found["kid"]["real images"] == 0
    assert all(one["real images"] < one["constant image"] for one in found.values())


def test_the_protocol_names_the_metric() -> None:
    described = {}
    for metric in ("fid", "kid"):
        objective = DigitsObjective(metric=metric)
        described[metric] = describe("digits", {"metric": metric}, objective)["protocol"]
    assert described["fid"]["metric"] == "fid"
    assert described["kid"]["metric"] == "kid"
    known = "fid, fid-infinity, fid-leading, kid, mmd"
    with pytest.raises(ValueError, match=f"metric = 'lpips' is unknown; known: {known}"):
        DigitsObjective(metric="lpips")
