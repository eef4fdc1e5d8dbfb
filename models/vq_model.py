"""diffusers' VQModel as a tokenizer, from a local folder; it needs the extra `diffusers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from models.codebook import nearest
from models.hashes import tensors_hash


class VQModelTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers) on a VQModel, whose images are in [-1, 1].

    Args:
        model: a diffusers.VQModel.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        self.codebook_size = int(model.config.num_vq_embeddings)
        self.factor = 2 ** (len(model.config.block_out_channels) - 1)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        latents = self.model.encode(images * 2 - 1).latents
        codes = self.model.quantize.embedding.weight
        found = nearest(rearrange(latents, "b d h w -> (b h w) d"), codes)
        return found.view(len(images), *latents.shape[2:])

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        latents = rearrange(self.model.quantize.embedding(tokens), "b h w d -> b d h w")
        images: Tensor = self.model.decode(latents, force_not_quantize=True).sample
        return (images / 2 + 0.5).clamp(0, 1)

    def hash(self) -> str:
        """SHA-256 of the weights."""
        return tensors_hash(self.state_dict())


def load_vq_model(folder: str | Path) -> VQModelTokenizer:
    """From a folder that `VQModel.save_pretrained` wrote, or a clone of a hub's; safetensors only.

    Raises:
        ValueError: diffusers is not installed, or no VQModel lies there.
    """
    try:
        from diffusers import VQModel
    except ImportError:
        raise ValueError("diffusers is not installed: pip install 'autonat[diffusers]'") from None
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a VQModel")
    try:
        untyped: Any = VQModel
        model = untyped.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{folder}: not a VQModel ({line})") from None
    return VQModelTokenizer(model)
