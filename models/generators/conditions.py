"""Conditions: what a generator gets to know of each image, such as its class or a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor


class Conditions:
    """The conditions of B images: one or more tensors with a row for each image.

    Classes are one tensor [B]. Texts may be three: states [B, C, E], a pooled vector [B, P] and a
    mask [B, C]. Only the generator that made the conditions knows what they mean.

        >>> texts = Conditions(torch.rand(4, 77, 768), torch.rand(4, 1280), torch.ones(4, 77))
        >>> states, pooled, mask = texts[:2].parts
        >>> len(Conditions.cat([texts, texts]))
        8

    Args:
        parts: tensors [B, ...], at least one.

    Raises:
        ValueError: there is no tensor, or the tensors have different numbers of rows.
    """

    def __init__(self, *parts: Tensor) -> None:
        rows = [len(part) if part.ndim else None for part in parts]
        if not parts or None in rows or len(set(rows)) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in parts) or "no tensor"
            raise ValueError(
                f"expected one or more tensors with a row for each image, got {shapes}"
            )
        self.parts = parts

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.parts[0].device

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Return the conditions of some images, given a slice or their indices [N] int64."""
        return type(self)(*(part[rows] for part in self.parts))

    def split(self, rows: int) -> list[Self]:
        """Split into consecutive pieces of `rows` images; the last may have fewer."""
        pieces = zip(*(torch.split(part, rows) for part in self.parts), strict=True)
        return [type(self)(*piece) for piece in pieces]

    @classmethod
    def cat(cls, several: Sequence[Self]) -> Self:
        """Concatenate several conditions of the same kind."""
        if len(several) == 1:
            return several[0]
        together = zip(*(conditions.parts for conditions in several), strict=True)
        return cls(*(torch.cat(parts) for parts in together))

    @property
    def are_numbers(self) -> bool:
        """Whether each condition is a single number, like a class."""
        return len(self.parts) == 1 and self.parts[0].ndim == 1

    def distinct(self) -> tuple[Self, Tensor]:
        """Return the distinct conditions, and the index [B] int64 among them of each image's.

        Only conditions that are single numbers, like classes, are compared. All others, such as
        texts, count as distinct.
        """
        if self.are_numbers:
            found, which = torch.unique(self.parts[0], return_inverse=True)
            return type(self)(found), which
        return self, torch.arange(len(self), device=self.device)

    def to(self, device: str | torch.device) -> Self:
        """Return these conditions on a device."""
        return type(self)(*(part.to(device) for part in self.parts))
