from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from models.metrics import kernel
from models.metrics.kid import KID
from models.metrics.metric import RealImages, statistics_of

WIDTH = 8


def drawn(n: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, WIDTH), generator=generator, dtype=torch.float64) + shift


def kid(real: Tensor, made: Tensor, groups: int = 10) -> float:
    metric = KID()
    parts = [metric.part(group) for group in torch.tensor_split(made, groups)]
    return metric.estimate(RealImages(statistics_of(real), real), parts).value


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_it_is_torchmetrics_number_with_one_subset_of_all_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, made = drawn(200, 1), drawn(200, 2, 0.3)

    class Given(nn.Module):
        num_features = WIDTH

        def forward(self, features: Tensor) -> Tensor:
            return features.flatten(1)

    theirs = KernelInceptionDistance(Given(), subsets=1, subset_size=200)  # type: ignore[arg-type]
    theirs.set_dtype(torch.float64)
    for features, is_real in ((real, True), (made, False)):
        theirs.update(features[:, :, None, None], real=is_real)
    mean, _ = theirs.compute()
    assert kid(real, made) == pytest.approx(float(mean), rel=1e-5)
    monkeypatch.setattr(kernel, "BLOCK", 1000)  # five rows at once
    assert kid(real, made) == pytest.approx(float(mean), rel=1e-5)


def test_its_expectation_does_not_depend_on_n_and_is_0_for_real_images() -> None:
    found = {}
    for n in (4, 40):
        values = [kid(drawn(400, 2 * s), drawn(n, 2 * s + 1), 2) for s in range(2000 // n)]
        found[n] = torch.tensor(values)
        assert found[n].min() < 0
        error = found[n].std() / len(values) ** 0.5
        assert abs(found[n].mean()) < 3.5 * error


def test_images_all_alike() -> None:
    real = drawn(300, 1)
    known = RealImages(statistics_of(real), real)
    alike = KID().of_constant_image(known, real[0])
    assert alike == pytest.approx(kid(real, real[:1].repeat(50, 1)), rel=1e-9)
    assert KID().of_real_images(known, 100) == 0
