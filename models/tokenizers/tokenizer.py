"""The protocol of tokenizers: from images to integer tokens and back.

B: images, H, W: pixels, h = H / factor, w = W / factor, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

import torch
from torch import Tensor

from search.plugins import Registry


class Tokenizer(Protocol):
    """Turns images into tokens and back. It is sent to workers by pickle.

    Example: a tokenizer whose tokens are K grey levels of the means of 8 x 8 pixels.

        >>> class GreyMeans:
        ...     factor = 8
        ...
        ...     def __init__(self, path: str = "") -> None:
        ...         self.codebook_size = 16
        ...
        ...     def encode(self, images: Tensor) -> Tensor:
        ...         means = torch.nn.functional.avg_pool2d(images.mean(1), self.factor)
        ...         return (means * (self.codebook_size - 1)).round().long()
        ...
        ...     def decode(self, tokens: Tensor) -> Tensor:
        ...         grey = tokens.float() / (self.codebook_size - 1)
        ...         grey = grey.repeat_interleave(8, 1).repeat_interleave(8, 2)
        ...         return grey[:, None].expand(-1, 3, -1, -1)
        ...
        ...     def hash(self) -> str:
        ...         return "sha256:" + "0" * 64  # nothing to tell apart
        ...
        ...     def to(self, device: str | torch.device) -> Self:
        ...         return self
        >>> _ = TOKENIZERS.register("grey")(GreyMeans)
        >>> tokenizer = load_tokenizer("grey:none")
        >>> tokens = tokenizer.encode(torch.ones(2, 3, 16, 24))
        >>> tokens[0].tolist(), tokenizer.decode(tokens).shape
        ([[15, 15, 15], [15, 15, 15]], torch.Size([2, 3, 16, 24]))

    Attributes:
        codebook_size: K.
        factor: the side in pixels of the square that one token stands for.
    """

    codebook_size: int
    factor: int

    def encode(self, images: Tensor) -> Tensor:
        """Encode images [B, 3, H, W] in [0, 1] to tokens [B, h, w] int64 in [0, K)."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, h, w] to images [B, 3, H, W] in [0, 1]."""

    def hash(self) -> str:
        """Return a hash of everything on which its results depend."""

    def to(self, device: str | torch.device) -> Self:
        """Move this tokenizer to a device, and return it."""


TOKENIZERS: Registry[Callable[[str], Tokenizer]] = Registry(
    "tokenizer",
    {
        "vqgan": "models.tokenizers.vqgan:load_vqgan",
        "llamagen": "models.tokenizers.llamagen:load_llamagen",
        "patches": "models.tokenizers.patches:PatchTokenizer.load",
        "diffusers": "models.tokenizers.vq_model:load_vq_model",
    },
    argument=":PATH",
)
"""The functions that make each kind of tokenizer from a path."""


def load_tokenizer(name: str) -> Tokenizer:
    """Load a tokenizer by name.

    Args:
        name: vqgan:PATH (a public checkpoint of MaskGIT's VQGAN), llamagen:PATH (LlamaGen's VQ),
            patches:PATH (see models.tokenizers.patches), diffusers:FOLDER (a VQModel), or a
            registered kind.

    Raises:
        ValueError: the kind is unknown, or the file is not of this kind.
    """
    _, load, path = TOKENIZERS.load_with_argument(name)
    return load(path)
