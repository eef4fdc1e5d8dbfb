"""diffusers' VQModel as a tokenizer, from a local folder; it needs the extra `diffusers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from models.codebook import check_images, nearest
from models.hashes import tensors_hash
from models.published import check_names


class VQModelTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers) on a VQModel, whose images are in [-1, 1].

    Args:
        model: a diffusers.VQModel.

    Raises:
        ValueError: its images are not of 3 channels.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        channels = model.config.in_channels, model.config.out_channels
        if channels != (3, 3):
            raise ValueError(f"its images have {channels} channels in and out, not 3")
        self.model = model.eval()
        self.codebook_size = int(model.config.num_vq_embeddings)
        self.factor = 2 ** (len(model.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        latents = self.model.encode(images * 2 - 1).latents
        codes = self.model.quantize.embedding.weight
        found = nearest(rearrange(latents, "b d h w -> (b h w) d"), codes)
        return found.view(len(images), *latents.shape[2:])

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        model = self.model
        shape = (*tokens.shape, model.quantize.embedding.embedding_dim)
        # aMUSEd's looks its codes up itself.
        own = model.config.lookup_from_codebook
        given = tokens if own else model.quantize.get_codebook_entry(tokens, shape)
        images: Tensor = model.decode(given, force_not_quantize=True, shape=shape).sample
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def hash(self) -> str:
        """SHA-256 of the weights."""
        return tensors_hash(self.state_dict())


def load_vq_model(folder: str | Path) -> VQModelTokenizer:
    """From a folder that `VQModel.save_pretrained` wrote, or a clone of a hub's; safetensors only.

    Raises:
        ValueError: diffusers is not installed, or no VQModel lies there, with all its weights.
    """
    try:
        from diffusers import VQModel
    except ImportError:
        raise ValueError("diffusers is not installed: pip install 'autonat[diffusers]'") from None
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a VQModel")
    try:
        untyped: Any = VQModel
        model, info = untyped.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,  # else it advises, at length, to install accelerate
            output_loading_info=True,
        )
        # What is missing would be random, and only warned about.
        check_names(info["missing_keys"], info["unexpected_keys"])
        return VQModelTokenizer(model)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        # The first line of torch's is a heading.
        line = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        raise ValueError(f"{folder}: not a VQModel ({line})") from None
