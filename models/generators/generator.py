"""The one face of masked image generators: all that decoding and measuring know of them.

A family is one file that implements `MaskedGenerator`; `models.testing.check_generator` tells
whether it does. B: images at once, L: tokens an image, K: codebook size.
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

    It is in evaluation mode and computes on the device that `to` moved it to; tokens and
    conditions are given on that device. It travels to other processes by pickle, from the CPU.
    """

    @property
    def tokens(self) -> int:
        """L >= 1."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns (h, w) of an image's tokens, row by row, so that h * w = L; None where
        the tokens are no grid."""

    @property
    def codebook_size(self) -> int:
        """K >= 1."""

    @property
    def mask_token(self) -> int:
        """The number that stands for a masked token, outside [0, K)."""

    @property
    def num_conditions(self) -> int | None:
        """How many classes, or texts, there are to generate for; None for a generator that takes
        no condition."""

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """Logits of every position, [B, L, K], in any float type; without a column for the mask.

        An image's logits depend on nothing but its own tokens and condition.

        Args:
            tokens: [B, L] int64, each in [0, K) or the mask token.
            conditions: of B images.
        """

    def conditions_of(self, drawn: Tensor) -> Conditions:
        """The conditions of classes, or texts, by their numbers, on the device of the numbers.

        Args:
            drawn: [B] int64 in [0, num_conditions); all 0 for a generator that takes none.
        """

    def null(self, conditions: Conditions) -> Conditions:
        """The conditions of no class or text, for guidance, as many as these and like them."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L] in [0, K) to images in [0, 1]: [B, 3, H, W], or grey [B, H, W]."""

    def flops(self) -> Mapping[str, int]:
        """Floating-point operations of one image, a multiplication and an addition being two:
        {"pass": of a forward pass, "decode": of `decode`}. What is not known is left out."""

    def hash(self) -> str:
        """Names the weights and whatever else fixes the logits, as `sha256:` and 64 digits."""

    def to(self, device: str | torch.device) -> Self:
        """This generator, moved to a device."""
