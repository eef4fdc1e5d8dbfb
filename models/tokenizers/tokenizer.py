"""Tokenizers: images to integer tokens and back, behind one face.

B: images, H, W: pixels, h = H / factor, w = W / factor, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

import torch
from torch import Tensor

from search.plugins import Registry


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


TOKENIZERS: Registry[Callable[[str], Tokenizer]] = Registry(
    "tokenizer",
    {
        "vqgan": "models.tokenizers.vqgan:load_vqgan",
        "patches": "models.tokenizers.patches:PatchTokenizer.load",
        "diffusers": "models.tokenizers.vq_model:load_vq_model",
    },
    argument=":PATH",
)
"""What makes each kind of tokenizer, from a path."""


def load_tokenizer(name: str) -> Tokenizer:
    """A tokenizer by name: vqgan:PATH (MaskGIT's, a public checkpoint), patches:PATH (see
    models.tokenizers.patches) or diffusers:FOLDER (a VQModel).

    Raises:
        ValueError: another kind, or a file that is not one of it.
    """
    _, load, path = TOKENIZERS.load_with_argument(name)
    return load(path)
