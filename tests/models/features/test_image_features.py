"""Features of images by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.features.image_features import fit_pixels, load_features, quantised


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(200, 3, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(smooth, (16, 16), mode="bilinear")


def test_pixels_are_whitened(images: Tensor) -> None:
    features = fit_pixels([images[:90], images[90:]], 2)
    found = features(images)
    assert found.shape == (200, 12)
    torch.testing.assert_close(found.mean(0), torch.zeros(12, dtype=torch.float64))
    # The ridge of 0.01 keeps a part of the variance of about 0.02 from counting.
    variances = torch.linalg.eigvalsh(found.T.cov())
    assert variances.max() < 1
    assert variances.max() / variances.min() < 5


def test_a_file_keeps_them(images: Tensor, tmp_path: Path) -> None:
    features = fit_pixels([images], 2)
    features.save(tmp_path / "p.safetensors")
    loaded = load_features(f"pixels:{tmp_path / 'p.safetensors'}")
    assert loaded.hash() == features.hash()
    assert loaded.description == "whitened pixels of 2 x 2"
    assert torch.equal(loaded(images), features(images))
    assert torch.equal(pickle.loads(pickle.dumps(loaded))(images), features(images))


def test_8_bits() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal(quantised(levels), levels)
    assert quantised(torch.tensor([0.4999 / 255])).item() == 0
    assert quantised(torch.tensor([0.5001 / 255])).item() == pytest.approx(1 / 255)


@pytest.mark.parametrize("name", ["pixels", "inception:", "resnet:x", ""])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(
        ValueError, match="is unknown; known: inception:PATH, inception-bicubic:PATH"
    ):
        load_features(name)


def test_files_that_are_no_features(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for kind in ("pixels", "inception"):
        with pytest.raises(ValueError, match="not a checkpoint of tensors"):
            load_features(f"{kind}:{tmp_path / 'x'}")
    with pytest.raises(ValueError, match="expected images to fit pixel features to, got none"):
        fit_pixels([], 2)
