"""FIDs of two protocols equal those of the public code, where it is installed.

Its weights cannot be shipped, so both sides get the same random ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.gpu_files import shapes_of, write_random
from models.features.image_features import load_features
from models.features.inception import Inception
from models.metrics.frechet import frechet_distance
from models.metrics.metric import statistics_of

Public = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("random") / "inception.pth", shapes_of(Inception))


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """Two sets of 16 images, of noise and of smooth colours, in [0, 1]."""
    source = torch.Generator().manual_seed(0)
    noise = torch.rand(16, 3, 64, 64, generator=source)
    colours = torch.rand(16, 3, 4, 4, generator=source)
    return noise, torch.nn.functional.interpolate(colours, scale_factor=16.0, mode="bilinear")


@pytest.fixture(scope="module")
def fidelity(weights: Path) -> Any:
    """The network of torch-fidelity, from pixels of 8 bits to features [B, 2048]."""
    public = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", exc_type=ImportError
    )
    return public.FeatureExtractorInceptionV3("random", ["2048"], str(weights))


@torch.no_grad()
def ours(kind: str, weights: Path, images: tuple[Tensor, Tensor]) -> float:
    features = load_features(f"{kind}:{weights}")
    one, other = (statistics_of(features(part)) for part in images)
    return float(frechet_distance(one, other))


def test_that_of_adms_evaluator(
    fidelity: Any, weights: Path, images: tuple[Tensor, Tensor]
) -> None:
    metric = pytest.importorskip("torch_fidelity.metric_fid", exc_type=ImportError)
    found = [fidelity((part * 255).to(torch.uint8))[0] for part in images]
    statistics = [metric.fid_features_to_statistics(features) for features in found]
    public = metric.fid_statistics_to_metric(*statistics, verbose=False)
    expected = next(iter(public.values()))
    assert ours("inception-adm", weights, images) == pytest.approx(expected, rel=0, abs=1e-3)


def test_that_of_clean_fid(fidelity: Any, weights: Path, images: tuple[Tensor, Tensor]) -> None:
    resize = pytest.importorskip("cleanfid.resize", exc_type=ImportError)
    clean = pytest.importorskip("cleanfid.fid", exc_type=ImportError)
    resizer = resize.make_resizer("PIL", False, "bicubic", (299, 299))
    statistics: list[Any] = []
    for part in images:
        pixels = [resizer((image * 255).permute(1, 2, 0).numpy()) for image in part]
        given = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        # An image of 299 pixels is not resized again; Halton-MaskGIT cuts it to 8 bits.
        features = fidelity(given.to(torch.uint8))[0].double().numpy()
        statistics += [features.mean(0), np.cov(features, rowvar=False)]
    expected = clean.frechet_distance(*statistics)
    found = ours("inception-bicubic", weights, images)
    assert found == pytest.approx(expected, rel=0, abs=1e-3)
