"""Against what the public code computed, in its own file format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.tokenizers.vqgan import VQGAN, VQGANConfig, load_vqgan, vqgan_config

DATA = Path(__file__).parents[1] / "files"


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    with np.load(DATA / "vqgan_expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def vqgan() -> VQGAN:
    return load_vqgan(DATA / "vqgan.ckpt")


def state() -> dict[str, Tensor]:
    content: dict[str, Tensor] = torch.load(DATA / "vqgan.ckpt", weights_only=True)["state_dict"]
    return content


def test_codes_are_the_public_ones(vqgan: VQGAN, expected: dict[str, Tensor]) -> None:
    codes = vqgan.encode(expected["images"])
    assert codes.shape == (2, 16, 16)
    assert torch.equal(codes.flatten(1), expected["codes"])


def test_decoded_images_are_the_public_ones(vqgan: VQGAN, expected: dict[str, Tensor]) -> None:
    codes = expected["codes"].view(2, 16, 16)
    raw = vqgan.decoder(vqgan.quantize.embedding(codes).permute(0, 3, 1, 2))
    torch.testing.assert_close(raw, expected["decoded"], atol=1e-4, rtol=0)
    assert torch.equal(vqgan.decode(codes), raw.clamp(0, 1))


def test_names_and_shapes_at_full_size_are_the_public_ones() -> None:
    public = json.loads((DATA / "vqgan_f16_state_dict.json").read_text())
    shapes = {name: tuple(shape) for name, shape in public.items()}
    with torch.device("meta"):
        full = VQGAN(vqgan_config(shapes))
    assert {name: tuple(t.shape) for name, t in full.state_dict().items()} == shapes
    assert (full.codebook_size, full.factor) == (1024, 16)


def test_a_larger_one_keeps_its_weights_through_the_public_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    larger = VQGAN(VQGANConfig(64, 16, (32, 64, 96), 2)).eval()
    for content in (larger.state_dict(), {"state_dict": larger.state_dict()}):
        torch.save(content, tmp_path / "larger.ckpt")
        loaded = load_vqgan(tmp_path / "larger.ckpt")
        assert loaded.hash() == larger.hash()
    images = torch.rand(3, 3, 32, 24)
    codes = loaded.encode(images)
    assert codes.shape == (3, 8, 6)
    assert codes.max() < 64
    decoded = loaded.decode(codes)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert torch.equal(codes[1:2], larger.encode(images[1:2]))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("quantize.embedding.weight"), "lacks quantize.embedding.weight"),
        (lambda s: s.pop("decoder.conv_in.bias"), "lacks decoder.conv_in.bias"),
        (lambda s: s.update(loss=torch.zeros(1)), "has the unexpected loss"),
        (
            lambda s: s.update({"decoder.conv_out.bias": torch.zeros(4)}),
            r"decoder.conv_out.bias: expected the shape \(3,\), got \(4,\)",
        ),
    ],
)
def test_another_checkpoint_is_refused_by_name(tmp_path: Path, change: object, line: str) -> None:
    content = state()
    change(content)  # type: ignore[operator]
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=line):
        load_vqgan(tmp_path / "bad.ckpt")
