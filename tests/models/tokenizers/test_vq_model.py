"""diffusers' VQModel: its own codes and images, and folders that hold something else."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from safetensors.torch import load_file, save_file

from models.tokenizers.vq_model import load_vq_model

AMUSED = Path(__file__).parents[2] / "reference" / "amused"
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SIZES: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "latent_channels": 4,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def in_range(images: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    """As that model is given them: aMUSEd's in [0, 1], latent diffusion's in [-1, 1]."""
    return images if settings.get("lookup_from_codebook") else images * 2 - 1


def saved(folder: Path, **settings: Any) -> VQModel:
    """A random one whose codes lie among the images' vectors, so that many are used."""
    torch.manual_seed(0)
    model = VQModel(**SIZES, num_vq_embeddings=20, vq_embed_dim=4, **settings).eval()
    if model.config.in_channels == 3:
        with torch.no_grad():
            vectors = (
                model.encode(in_range(IMAGES, settings)).latents.permute(0, 2, 3, 1).flatten(0, 2)
            )
            model.quantize.embedding.weight.copy_(vectors[:: len(vectors) // 20][:20])
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm_type": "spatial"},
        {"lookup_from_codebook": True, "mid_block_add_attention": False},  # as aMUSEd's
    ],
)
@torch.no_grad()
def test_codes_and_images_are_its_own(settings: dict[str, Any], tmp_path: Path) -> None:
    model = saved(tmp_path, **settings)
    tokenizer = load_vq_model(tmp_path)
    assert (tokenizer.codebook_size, tokenizer.factor) == (20, 2)
    latents = model.encode(in_range(IMAGES, settings)).latents
    quantised, _, (_, _, own) = model.quantize(latents)
    tokens = tokenizer.encode(IMAGES)
    assert torch.equal(tokens.flatten(), own.flatten())
    assert len(tokens.unique()) == 20
    images = model.decoder(
        model.post_quant_conv(quantised),
        quantised if settings.get("norm_type") == "spatial" else None,
    )
    if not settings.get("lookup_from_codebook"):
        images = (images + 1) / 2
    torch.testing.assert_close(tokenizer.decode(tokens), images.clamp(0, 1), atol=1e-5, rtol=0)


def test_amuseds_codes_and_images_are_the_public_ones() -> None:
    """By AmusedPipeline, of a small random model."""
    folder = AMUSED / "amused_256_small" / "vqvae"
    tokenizer = load_vq_model(folder)
    with np.load(AMUSED / "amused_256_small_expected.npz") as file:
        images, codes, decoded = (
            torch.from_numpy(file[f"vq_{name}"]) for name in ("images", "codes", "decoded")
        )
    assert torch.equal(tokenizer.encode(images), codes)
    torch.testing.assert_close(tokenizer.decode(codes), decoded, atol=1e-4, rtol=0)
    other = load_vq_model(folder, image_range=(-1.0, 1.0))
    assert (other.encode(images) == codes).float().mean() < 0.5
    assert (other.decode(codes) - decoded).abs().max() > 0.4
    assert other.hash() != tokenizer.hash()  # tokens made by one are not taken for the other's


def test_the_range_is_said_by_config_or_caller(tmp_path: Path) -> None:
    saved(tmp_path)
    assert load_vq_model(tmp_path).image_range == (-1.0, 1.0)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "image_range": [0, 1]}))
    found = load_vq_model(tmp_path)
    assert found.image_range == (0.0, 1.0)
    assert load_vq_model(tmp_path, (-1.0, 1.0)).image_range == (-1.0, 1.0)
    assert torch.equal(pickle.loads(pickle.dumps(found)).encode(IMAGES), found.encode(IMAGES))
    for told, line in (
        ("[0,1]", r"expected image_range = \[black, white\], got '\[0,1\]'"),
        ([1, 0], r"expected image_range = \(black, white > black\), got \(1.0, 0.0\)"),
        ([0, True], "expected image_range = .black, white"),
    ):
        path.write_text(json.dumps({**config, "image_range": told}))
        with pytest.raises(ValueError, match=f"{tmp_path}: not a VQModel .*{line}"):
            load_vq_model(tmp_path)


def _lacking(weights: dict[str, Any]) -> None:
    del weights["decoder.conv_out.weight"], weights["quantize.embedding.weight"]


def _unexpected(weights: dict[str, Any]) -> None:
    weights["loss.weight"] = torch.zeros(2)


def _not_a_number(weights: dict[str, Any]) -> None:
    weights["decoder.conv_out.weight"][0] = torch.nan


def _quantised(weights: dict[str, Any]) -> None:
    weights["decoder.conv_out.weight"] = weights["decoder.conv_out.weight"].to(torch.int8)


def _misshapen(weights: dict[str, Any]) -> None:
    weights["decoder.conv_out.weight"] = torch.zeros(3, 9, 3, 3)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_lacking, "lacks (decoder.conv_out.weight|quantize.embedding.weight), "),
        (_unexpected, "has the unexpected loss.weight"),
        (_not_a_number, "decoder.conv_out.weight holds NaN"),
        (_quantised, "decoder.conv_out.weight: expected floating-point numbers, got I8"),
        (_misshapen, "size mismatch for decoder.conv_out.weight"),
    ],
)
def test_other_weights_are_one_line(spoil: Any, line: str, tmp_path: Path) -> None:
    saved(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    spoil(weights)
    save_file(weights, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"not a VQModel .*{line}") as caught:
        load_vq_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no config.json"):
        load_vq_model(tmp_path)
    AutoencoderKL(**SIZES).save_pretrained(tmp_path / "kl")
    saved(tmp_path / "grey", in_channels=1, out_channels=1)
    saved(tmp_path / "cut")
    (tmp_path / "cut" / WEIGHTS).write_bytes(b"hello")
    saved(tmp_path / "no JSON")
    (tmp_path / "no JSON" / "config.json").write_text("{")
    for name, line in (
        ("kl", "size mismatch"),
        ("grey", r"3 channels in and out, got \(1, 1\)"),
        ("cut", f"{WEIGHTS} is damaged or cut off"),
        ("no JSON", "not a valid JSON"),
    ):
        with pytest.raises(ValueError, match=f"{name}: not a VQModel .*{line}") as caught:
            load_vq_model(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_without_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"diffusers is not installed: pip install"):
        load_vq_model("x")
