"""The VQModel of diffusers as a tokenizer, from a local folder; needs the extra `diffusers`.

A VQModel does not say which numbers stand for black and white. Models of latent diffusion use
[-1, 1]. The models of aMUSEd and Meissonic use [0, 1] for input and output (their pipelines do not
normalise); these, and no others that we know of, set `lookup_from_codebook`.
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
"""A field [black, white] to add to config.json if the rule above is wrong for a model."""


class VQModelTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer) that uses a VQModel.

    Args:
        model: a diffusers.VQModel.
        image_range: the numbers that stand for black and white in the model.

    Raises:
        ValueError: the model's images do not have 3 channels, or white is not above black.
    """

    def __init__(self, model: Any, image_range: tuple[float, float]) -> None:
        super().__init__()
        if not image_range[0] < image_range[1]:
            raise ValueError(f"expected image_range = (black, white > black), got {image_range}")
        channels = model.config.in_channels, model.config.out_channels
        if channels != (3, 3):
            raise ValueError(f"expected a model with 3 channels in and out, got {channels}")
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
        # aMUSEd's model looks up the codes itself.
        own = model.config.lookup_from_codebook
        given = tokens if own else model.quantize.get_codebook_entry(tokens, shape)
        images: Tensor = model.decode(given, force_not_quantize=True, shape=shape).sample
        black, white = self.image_range
        return ((images.float() - black) / (white - black)).clamp(0, 1)

    def hash(self) -> str:
        """Return the SHA-256 of the weights, and of the range if it is not latent diffusion's."""
        weights = tensors_hash(self.state_dict())
        if self.image_range == LATENT_DIFFUSION:
            return weights
        text = f"{weights} {list(self.image_range)}".encode()
        return f"sha256:{hashlib.sha256(text).hexdigest()}"


def load_vq_model(
    folder: str | Path, image_range: tuple[float, float] | None = None
) -> VQModelTokenizer:
    """Load a VQModel from a folder written by `VQModel.save_pretrained`, or a clone from the hub.

    Only safetensors are read.

    Args:
        folder: the folder with config.json and the weights.
        image_range: the numbers that stand for black and white. By default the field of this name
            in config.json; without one, [0, 1] for models that look up the codes themselves
            (aMUSEd, Meissonic) and [-1, 1] for all others.

    Raises:
        ValueError: diffusers is not installed, or the folder holds no complete VQModel.
    """
    try:
        from diffusers import VQModel
    except ImportError:
        raise ValueError("diffusers is not installed: pip install 'autonat[diffusers]'") from None
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json of a VQModel")
    # It would warn that it ignores our field.
    logging.getLogger("diffusers.configuration_utils").setLevel(logging.ERROR)
    try:
        check_types(folder, "diffusion_pytorch_model")
        untyped: Any = VQModel
        model, info = untyped.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,  # else a long message recommends to install accelerate
            output_loading_info=True,
        )
        # Missing weights would be random, with no more than a warning.
        check_names(info["missing_keys"], info["unexpected_keys"])
        check_tensors(model.state_dict())
        return VQModelTokenizer(model, image_range or _image_range(model))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        # The first line of torch's errors is only a heading, so the second is shown, too.
        line = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        raise ValueError(f"{folder}: not a VQModel ({line})") from None


def _image_range(model: Any) -> tuple[float, float]:
    given = model.config.get(FIELD)
    if given is None:
        return AMUSED if model.config.lookup_from_codebook else LATENT_DIFFUSION
    if not (isinstance(given, list) and len(given) == 2 and {*map(type, given)} <= {int, float}):
        raise ValueError(f"expected {FIELD} = [black, white], got {given!r}")
    return float(given[0]), float(given[1])
