"""Three protocols of FID resize images as their public code does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.features.image_features import RESIZES, load_features
from models.features.inception import Inception
from models.features.inception_inputs import (
    clean_fid_inputs,
    pytorch_fid_inputs,
    tensorflow_inputs,
)
from models.metrics.frechet import Statistics
from models.metrics.reference_statistics import read_reference

SIZES = [(16, 16), (256, 256), (384, 384), (30, 300)]


def images(h: int, w: int) -> Tensor:
    """Noise, and flat pictures, on which a cut to 8 bits shows every error of rounding."""
    noise = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(h))
    flat = torch.tensor([0.0, 128 / 255, 1.0])[None, :, None, None].expand(1, 3, h, w)
    return torch.cat([noise, flat])


def by_pil(image: Tensor) -> Tensor:
    """What clean-fid does: a channel at a time, as floats."""
    channels = [
        Image.fromarray(channel.numpy()).resize((299, 299), Image.Resampling.BICUBIC)
        for channel in image * 255
    ]
    return torch.from_numpy(np.stack([np.asarray(c).clip(0, 255) for c in channels]))


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_halton_maskgits_inputs_are_pils(h: int, w: int) -> None:
    given = images(h, w)
    expected = torch.stack([by_pil(image) for image in given]).to(torch.uint8).float()
    found = clean_fid_inputs(given) * 128 + 128
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_adms_inputs_are_tensorflows(h: int, w: int) -> None:
    given = images(h, w)
    pixels = (given * 255).to(torch.uint8).float()
    expected = pixels
    for dim, side in ((2, h), (3, w)):  # place i of 299 is at i * side / 299
        place = torch.arange(299, dtype=torch.float64) * side / 299
        low = place.floor().long()
        high = (low + 1).clamp(max=side - 1)
        share = (place - low).float().view([-1 if d == dim else 1 for d in range(4)])
        below, above = expected.index_select(dim, low), expected.index_select(dim, high)
        expected = below + (above - below) * share
    found = tensorflow_inputs(given) * 128 + 128
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)  # of 255; places in float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tensorflow_inputs(given) * 128 + 128, found)


def test_every_level_of_8_bits_stays_itself() -> None:
    levels = (torch.arange(256) / 255).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    wanted = torch.arange(256.0)
    assert torch.equal((levels.float() * 255).floor()[0, 0].flatten(), wanted)


def test_they_are_of_torch_fidelity() -> None:
    compat = pytest.importorskip(
        "torch_fidelity.interpolate_compat_tensorflow", exc_type=ImportError
    )
    resized = compat.interpolate_bilinear_2d_like_tensorflow1x
    given = images(256, 256)
    pixels = (given * 255).to(torch.uint8).float()
    expected = (resized(pixels, size=(299, 299), align_corners=False) - 128) / 128
    torch.testing.assert_close(tensorflow_inputs(given), expected, atol=1e-4, rtol=0)
    # The network behind clean-fid's bicubic leaves an image of 299 pixels as it is.
    small = clean_fid_inputs(given)
    same = resized(small, size=(299, 299), align_corners=False)
    torch.testing.assert_close(same, small, atol=1e-6, rtol=0)


def test_they_are_of_clean_fid() -> None:
    resize = pytest.importorskip("cleanfid.resize", exc_type=ImportError)
    resizer = resize.make_resizer("PIL", False, "bicubic", (299, 299))
    given = images(256, 256)
    arrays = [resizer((image * 255).permute(1, 2, 0).numpy()) for image in given]
    expected = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).to(torch.uint8)
    assert torch.equal(clean_fid_inputs(given) * 128 + 128, expected.float())


def test_protocols_are_named_and_never_mixed(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = Inception().state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}
    torch.save(state, tmp_path / "inception.pth")
    kinds = ("inception", "inception-bicubic", "inception-adm")
    found = {kind: load_features(f"{kind}:{tmp_path / 'inception.pth'}") for kind in kinds}
    assert len({features.hash() for features in found.values()}) == 3
    assert len({RESIZES[kind] for kind in kinds}) == 3
    inputs: Any = [features.network.inputs for features in found.values()]  # type: ignore[attr-defined]
    assert inputs == [pytorch_fid_inputs, clean_fid_inputs, tensorflow_inputs]
    # The inputs, and so the features, of one image differ.
    noise = images(32, 32)
    assert not torch.allclose(inputs[0](noise), inputs[1](noise), atol=1e-2)
    assert not torch.allclose(inputs[0](noise), inputs[2](noise), atol=1e-2)


def test_halton_maskgits_statistics_are_a_file_of_torch(tmp_path: Path) -> None:
    points = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    content = {"mu": points.mean(0), "cov": points.T.cov()}
    torch.save(content, tmp_path / "stats.pt")
    found = read_reference(tmp_path / "stats.pt")
    assert isinstance(found.statistics, Statistics)
    torch.testing.assert_close(found.statistics.covariance, points.T.cov().double())
    torch.save({"mu": content["mu"]}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match=r"half.pt: expected sigma in the file, got \['mu'\]"):
        read_reference(tmp_path / "half.pt")
    os.truncate(tmp_path / "stats.pt", 100)
    with pytest.raises(ValueError, match=r"stats.pt: not a checkpoint of tensors"):
        read_reference(tmp_path / "stats.pt")
