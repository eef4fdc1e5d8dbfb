"""The protocol of masked generators: all that decoding and measuring know of them.

A family of generators is one file that implements `MaskedGenerator`. docs/extending/captioned.py is
a runnable example, and `models.testing.check_generator` checks an implementation.
B: images at once, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from models.generators.conditions import Conditions


@runtime_checkable
class MaskedGenerator(Protocol):
    """Predicts the masked tokens of images from the visible ones, and turns tokens into images.

    A generator is in evaluation mode. It computes on the device that `to` moved it to, and gets
    tokens and conditions on that device. It is sent to other processes by pickle, from the CPU.
    """

    @property
    def tokens(self) -> int:
        """L >= 1, the number of tokens of an image."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns (h, w) of the tokens with h * w = L; None if they are not a grid.

        Tokens are listed row by row.
        """

    @property
    def codebook_size(self) -> int:
        """K >= 1, the number of different tokens."""

    @property
    def mask_token(self) -> int:
        """The number that stands for a masked token; it is outside [0, K)."""

    @property
    def num_conditions(self) -> int | None:
        """The number of classes or texts to generate for; None if there are no conditions."""

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """Return the logits of every position, [B, L, K], in any float type.

        There is no column for the mask token. The logits of an image depend only on its own tokens
        and condition.

        Args:
            tokens: [B, L] int64, each in [0, K) or the mask token.
            conditions: the conditions of B images.
        """

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """Return the conditions of classes or texts, given their numbers, on the numbers' device.

        Args:
            drawn: [B] int64 in [0, num_conditions); all 0 if there are no conditions.
        """

    def null(self, conditions: Conditions) -> Conditions:
        """Return the null conditions for guidance, which stand for no class or no text.

        They have as many rows as `conditions`, of the same shapes and types. All rows are equal:
        decoding computes the null logits of fully masked tokens once for all images.
        """

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] in [0, K) to images in [0, 1]: [B, 3, H, W], or grey [B, H, W]."""

    def flops(self) -> Mapping[str, int]:
        """Return the floating-point operations for one image.

        The key "pass" holds those of a forward pass, the key "decode" those of `decode`. If one of
        them is unknown, the search shows no cost. A multiplication and an addition count as two.
        """

    def hash(self) -> str:
        """Return a hash of everything that determines the logits: `sha256:` and 64 digits."""

    def to(self, device: str | torch.device) -> Self:
        """Move this generator to a device, and return it."""


@runtime_checkable
class PredictsPlaces(Protocol):
    """A generator that can predict some tokens of an image alone, which costs less.

    Decoding asks only for masked tokens and, where it knows which tokens a step sets, as in a
    Halton order, only for these. Where the codebook is large, the last layer is a large share of a
    forward pass.
    """

    def logits_at(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        """Return the logits of some positions, [B, P, K]: those of `__call__` up to rounding.

        Args:
            tokens: [B, L] int64, each in [0, K) or the mask token.
            conditions: the conditions of B images.
            places: [B, P] int64 in [0, L), the positions in each image.
        """


@runtime_checkable
class Casts(Protocol):
    """A generator that can compute with weights of another type, which a GPU does faster.

    Without this method, autocast casts weights and inputs at each operation.
    """

    def in_dtype(self, dtype: torch.dtype) -> MaskedGenerator:
        """Return a copy with weights of that type, on the same device, to compute logits with."""
