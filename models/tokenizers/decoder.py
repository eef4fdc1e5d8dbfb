"""From a generator's tokens, a row an image, to pixels.

B: images, h, w: rows and columns of tokens, L = h * w, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from einops import rearrange
from torch import Tensor, nn

from models.flops import decode_flops
from models.tokenizers.tokenizer import Tokenizer

DECODED_AT_ONCE = 25
"""A decoder's maps of an image are many times larger than the image."""


class Decoder(Protocol):
    """Turns the tokens of whole images into pixels. It travels to workers by pickle."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns (h, w) of an image's tokens; None where they are no grid."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L] to images in [0, 1], [B, 3, H, W] or grey [B, H, W]."""

    def flops(self) -> int:
        """Floating-point operations of one image."""

    def to(self, device: str | torch.device) -> Self:
        """This decoder, moved to a device."""


class GreyLevels:
    """Tokens that are the grey levels of an image's pixels.

    Args:
        levels: K >= 2; 0 is black, K - 1 is white.
        grid: (h, w), the pixels.
    """

    def __init__(self, levels: int, grid: tuple[int, int]) -> None:
        self.levels, self.grid = levels, grid

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L] to grey images [B, h, w] in [0, 1]."""
        return tokens.view(-1, *self.grid).float() / (self.levels - 1)

    def flops(self) -> int:
        """A division a pixel, which is not counted."""
        return 0

    def to(self, device: str | torch.device) -> Self:
        """Itself; it holds no tensor."""
        return self


class GridDecoder:
    """A tokenizer that decodes rows of tokens; it is loaded when it is first needed.

    Args:
        load: loads the tokenizer.
        grid: (h, w).
    """

    def __init__(self, load: Callable[[], Tokenizer], grid: tuple[int, int]) -> None:
        self.grid = grid
        self._load, self._loaded = load, None

    _loaded: Tokenizer | None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            ValueError: it cannot be loaded.
        """
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L] to images [B, 3, H, W] in [0, 1], a few at a time."""
        tokenizer = self.tokenizer.to(tokens.device)
        grids = rearrange(tokens, "b (h w) -> b h w", h=self.grid[0])
        return torch.cat([tokenizer.decode(part) for part in torch.split(grids, DECODED_AT_ONCE)])

    def flops(self) -> int:
        """See `Decoder.flops`; 0 for a tokenizer that is no network."""
        tokenizer: Any = self.tokenizer
        return decode_flops(tokenizer, self.grid) if isinstance(tokenizer, nn.Module) else 0

    def to(self, device: str | torch.device) -> Self:
        """This decoder; its tokenizer moves too, once it is loaded."""
        if self._loaded is not None:
            self._loaded = self._loaded.to(device)
        return self
