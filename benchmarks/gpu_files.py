"""Makes files in the published formats with random weights, and pictures of noise, for `gpu_check`,
which needs no download."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.features.inception import Inception
from models.generators.nat import NAT, NATConfig
from models.state_dicts import without_numbers
from models.tokenizers.vqgan import VQGAN, VQGANConfig

FORMATS = Path(__file__).parents[1] / "tests" / "models" / "files"
"""The names and shapes of the published state dicts."""


def published_shapes(name: str) -> dict[str, list[int]]:
    """Return the shapes of a published state dict, by name."""
    found: dict[str, list[int]] = json.loads((FORMATS / f"{name}.json").read_text())
    return found


def shapes_of(made: type[torch.nn.Module], *args: Any) -> dict[str, Sequence[int]]:
    """Return the shapes of the state dict of a network, by name."""
    with without_numbers():
        return {name: tuple(t.shape) for name, t in made(*args).state_dict().items()}


def write_random(path: Path, shapes: Mapping[str, Sequence[int]], seed: int = 0) -> Path:
    """Write a state dict of these shapes: norms as initialised, all else with unit gain."""
    generator = torch.Generator().manual_seed(seed)
    torch.save({name: _values(name, shapes[name], generator) for name in shapes}, path)
    return path


def _values(name: str, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        inputs = shape[-1] if "embeddings" in name else math.prod(shape[1:])
        gain = 2 if len(shape) == 4 else 1  # a convolution's activation halves the variance
        return torch.randn(tuple(shape), generator=generator) * math.sqrt(gain / inputs)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    return torch.zeros(*shape) if name.endswith(("bias", "running_mean")) else torch.ones(*shape)


def write_networks(folder: Path, small: bool) -> dict[str, Path]:
    """Write AutoNAT-L, MaskGIT's VQGAN and Inception at published sizes, and a NAT of size S.

    If `small`, write small networks, and no Inception.
    """
    folder.mkdir(parents=True)
    if small:
        vqgan: Mapping[str, Sequence[int]] = shapes_of(VQGAN, VQGANConfig(64, 16, (32, 32, 32), 1))
        nat = shapes_of(NAT, NATConfig(64, 64, 10, 32, 2, 2))
        return {
            "L": write_random(folder / "L.pth", nat),
            "S": write_random(folder / "S.pth", nat, 1),
            "vqgan": write_random(folder / "vqgan.ckpt", vqgan),
        }
    return {
        "L": write_random(folder / "L.pth", published_shapes("autonat_l_state_dict")),
        "S": write_random(folder / "S.pth", shapes_of(NAT, NATConfig(1024, 256, 1000, 512, 12, 8))),
        "vqgan": write_random(folder / "vqgan.ckpt", published_shapes("vqgan_f16_state_dict")),
        "inception": write_random(folder / "inception.pth", shapes_of(Inception)),
    }


def write_pictures(folder: Path, count: int, side: int) -> Path:
    """Write pictures of tinted noise in two folders of classes, and captions.tsv beside them."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(count):
        name = ("bright", "dark")[index % 2]
        tint = rng.integers(100, 250, 3) // (1 + index % 2)
        pixels = (rng.random((side, side, 3)) * tint).astype(np.uint8)
        file = folder / "pictures" / name / f"{index:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, compress_level=0)
        lines.append(f"a {name} picture\t{name}/{file.name}\n")
    (folder / "captions.tsv").write_text("".join(lines))
    return folder / "pictures"


def write_clip(folder: Path) -> Path:
    """Write a small text encoder of CLIP and a tokenizer of six words; needs transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

    words = ["<s>", "</s>", "a", "bright", "dark", "picture"]
    plain = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="</s>", eos_token="</s>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=16,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder)
    return folder
