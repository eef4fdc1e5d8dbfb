"""Tokenizers: images to integer tokens and back, behind one face.

B: images, H, W: pixels, h = H / factor, w = W / factor, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, Self

import torch
from torch import Tensor

from models.tokenizers.patches import PatchTokenizer
from models.tokenizers.vq_model import load_vq_model
from models.tokenizers.vqgan import load_vqgan


class Tokenizer(Protocol):
    """Turns images into tokens and back. It travels to workers by pickle.

    Attributes:
        codebook_size: K.
        factor: pixels a side of what one token stands for.
    """

    codebook_size: int
    factor: int

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] to tokens [B, h, w] int64 in [0, K)."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, h, w] to images [B, 3, H, W] in [0, 1]."""

    def hash(self) -> str:
        """Of all that decides what it does."""

    def to(self, device: str | torch.device) -> Self:
        """This tokenizer, on a device."""


KINDS: Mapping[str, Callable[[str], Tokenizer]] = {
    "vqgan": load_vqgan,
    "patches": PatchTokenizer.load,
    "diffusers": load_vq_model,
}


def load_tokenizer(name: str) -> Tokenizer:
    """A tokenizer by name: vqgan:PATH (MaskGIT's, a public checkpoint), patches:PATH (see
    models.tokenizers.patches) or diffusers:FOLDER (a VQModel).

    Raises:
        ValueError: another kind, or a file that is not one of it.
    """
    kind, _, path = name.partition(":")
    if kind not in KINDS or not path:
        known = ", ".join(f"{kind}:PATH" for kind in KINDS)
        raise ValueError(f"tokenizer = {name!r} is unknown; known: {known}")
    return KINDS[kind](path)
