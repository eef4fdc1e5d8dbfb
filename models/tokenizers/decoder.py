"""Decoders: from a generator's tokens, one row per image, to pixels.

B: images, h, w: rows and columns of tokens, L = h * w, K: codebook size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from einops import rearrange
from torch import Tensor, nn

from models.compiled_rows import CompiledRows
from models.flops import decode_flops
from models.precision import device
from models.tokenizers.tokenizer import Tokenizer, load_tokenizer

DECODED_AT_ONCE = 25
"""The most images decoded at once: the activations are many times larger than the images."""
PIXELS_ON_CPU = 256 * 256
"""The pixels of the images decoded at once on a CPU, where more take memory and no less time."""


class Decoder(Protocol):
    """Turns the tokens of whole images into pixels. It is sent to workers by pickle."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns (h, w) of the tokens of an image; None if they are not a grid."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] to images in [0, 1], [B, 3, H, W] or grey [B, H, W]."""

    def flops(self) -> int:
        """Return the floating-point operations for one image."""

    def to(self, device: str | torch.device) -> Self:
        """Move this decoder to a device, and return it."""


class GreyLevels:
    """Decodes tokens that are the grey levels of pixels.

    Args:
        levels: K >= 2; 0 is black, K - 1 is white.
        grid: (h, w), the size of an image in pixels.
    """

    def __init__(self, levels: int, grid: tuple[int, int]) -> None:
        self.levels, self.grid = levels, grid

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] to grey images [B, h, w] in [0, 1]."""
        return tokens.view(-1, *self.grid).float() / (self.levels - 1)

    def flops(self) -> int:
        """Return 0, because elementwise operations are not counted."""
        return 0

    def to(self, device: str | torch.device) -> Self:
        """Return this decoder, which holds no tensor."""
        return self


class GridDecoder:
    """Decodes rows of tokens with a tokenizer, which is loaded when it is first needed.

    Args:
        load: loads the tokenizer.
        grid: (h, w), rows and columns of the tokens of an image.
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
        """Decode tokens [B, L] to images [B, 3, H, W] in [0, 1], a few at a time."""
        tokenizer = self.tokenizer.to(tokens.device)
        return self._decode(tokens, tokenizer.decode)

    def compiled(self, backend: Any = "inductor") -> Callable[[Tensor], Tensor]:
        """Return what decodes as `decode` does, compiled for this process's GPU.

        Args:
            backend: of torch.compile.
        """
        compiled = CompiledRows(
            self.tokenizer.to(device()).decode, DECODED_AT_ONCE, "decoders to pixels", backend
        )
        return lambda tokens: self._decode(tokens, compiled)

    def _decode(self, tokens: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
        """Decode tokens [B, L] with what decodes tokens [B, h, w], a few images at a time."""
        grids = rearrange(tokens, "b (h w) -> b h w", h=self.grid[0])
        at_once = decoded_at_once(math.prod(self.grid) * self.tokenizer.factor**2, tokens.device)
        return torch.cat([decode(part) for part in torch.split(grids, at_once)])

    def flops(self) -> int:
        """See `Decoder.flops`; 0 if the tokenizer is not a network."""
        tokenizer: Any = self.tokenizer
        return decode_flops(tokenizer, self.grid) if isinstance(tokenizer, nn.Module) else 0

    def to(self, device: str | torch.device) -> Self:
        """Move this decoder, with its tokenizer if it is loaded, and return it."""
        if self._loaded is not None:
            self._loaded = self._loaded.to(device)
        return self


def decoded_at_once(pixels: int, device: torch.device) -> int:
    """Return how many images of so many pixels are decoded at once; their pixels do not change."""
    room = PIXELS_ON_CPU // pixels if device.type == "cpu" else DECODED_AT_ONCE
    return min(max(room, 1), DECODED_AT_ONCE)


def side_of(tokens: int) -> int:
    """Return the side of the square that the tokens of an image are.

    Raises:
        ValueError: they are no square.
    """
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise ValueError(f"expected a square of tokens, got {tokens} tokens")
    return side


def square_decoder(
    tokenizer: str, path: str | Path, tokens: int, codebook_size: int
) -> GridDecoder:
    """Return the decoder of a generator whose tokens are a square.

    Args:
        tokenizer: the name of the tokenizer (see `models.tokenizers.tokenizer.load_tokenizer`).
        path: of the generator's weights, for error lines.
        tokens: L of the generator.
        codebook_size: K of the generator.

    Raises:
        ValueError: the tokens are no square, or the tokenizer cannot be loaded or has other codes.
    """
    try:
        side = side_of(tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    decoder = GridDecoder(functools.partial(load_tokenizer, tokenizer), (side, side))
    codes = decoder.tokenizer.codebook_size
    if codes != codebook_size:
        raise ValueError(
            f"expected a tokenizer with {codebook_size} codes, as {path} has, but {tokenizer} has "
            f"{codes}"
        )
    return decoder
