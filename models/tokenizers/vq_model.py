"""diffusers' VQModel as a tokenizer, from a local folder; it needs the extra `diffusers`.

No VQModel says which numbers stand for black and white. Those of latent diffusion work in [-1, 1].
aMUSEd's and Meissonic's work in [0, 1] both ways (their pipelines normalise nothing); they, and no
others that we know, set `lookup_from_codebook`.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from models.hashes import tensors_hash
from models.state_dicts import check_names
from models.tensor_file import check_tensors, check_types
from models.tokenizers.codebook import check_images, nearest

LATENT_DIFFUSION = (-1.0, 1.0)
AMUSED = (0.0, 1.0)
FIELD = "image_range"
"""A field that one may add to config.json where the rule above is wrong: [black, white]."""


class VQModelTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer) on a VQModel.

    Args:
        model: a diffusers.VQModel.
        image_range: its black and its white.

    Raises:
        ValueError: its images are not of 3 channels, or its white is not above its black.
    """

    def __init__(self, model: Any, image_range: tuple[float, float]) -> None:
        super().__init__()
        if not image_range[0] < image_range[1]:
            raise ValueError(f"image_range = {image_range} is not a black and a white above it")
        channels = model.config.in_channels, model.config.out_channels
        if channels != (3, 3):
            raise ValueError(f"its images have {channels} channels in and out, not 3")
        self.model = model.eval()
        self.codebook_size = int(model.config.num_vq_embeddings)
        self.factor = 2 ** (len(model.config.block_out_channels) - 1)
        self.image_range = image_range

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        black, white = self.image_range
        latents = self.model.encode(images * (white - black) + black).latents
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
        black, white = self.image_range
        return ((images.float() - black) / (white - black)).clamp(0, 1)

    def hash(self) -> str:
        """SHA-256 of the weights, and of the range where it is not latent diffusion's."""
        weights = tensors_hash(self.state_dict())
        if self.image_range == LATENT_DIFFUSION:
            return weights
        told = f"{weights} {list(self.image_range)}".encode()
        return f"sha256:{hashlib.sha256(told).hexdigest()}"


def load_vq_model(
    folder: str | Path, image_range: tuple[float, float] | None = None
) -> VQModelTokenizer:
    """From a folder that `VQModel.save_pretrained` wrote, or a clone of a hub's; safetensors only.

    Args:
        folder: with config.json and the weights.
        image_range: the model's black and white; by default config.json's field of that name,
            which one may add, else [0, 1] of models that look up their codes themselves (aMUSEd,
            Meissonic), and [-1, 1] of all others.

    Raises:
        ValueError: diffusers is not installed, or no VQModel lies there, with all its weights.
    """
    try:
        from diffusers import VQModel
    except ImportError:
        raise ValueError("diffusers is not installed: pip install 'autonat[diffusers]'") from None
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a VQModel")
    # It would say that our own field is ignored.
    logging.getLogger("diffusers.configuration_utils").setLevel(logging.ERROR)
    try:
        check_types(folder, "diffusion_pytorch_model")
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
        check_tensors(model.state_dict())
        return VQModelTokenizer(model, image_range or _image_range(model))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        # The first line of torch's is a heading.
        line = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        raise ValueError(f"{folder}: not a VQModel ({line})") from None


def _image_range(model: Any) -> tuple[float, float]:
    told = model.config.get(FIELD)
    if told is None:
        return AMUSED if model.config.lookup_from_codebook else LATENT_DIFFUSION
    if not (isinstance(told, list) and len(told) == 2 and {*map(type, told)} <= {int, float}):
        raise ValueError(f"{FIELD} = {told!r} is not [black, white]")
    return float(told[0]), float(told[1])
