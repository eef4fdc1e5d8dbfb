"""What a generator is told of the images it makes: a class, a text, or whatever else it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor


class Conditions:
    """The conditions of B images: one or more tensors whose rows belong together.

    A class is one tensor [B]. A text may be three: states [B, C, E], a pooled vector [B, P] and a
    mask [B, C]. Only the generator that made them knows what they mean.

        >>> texts = Conditions(torch.rand(4, 77, 768), torch.rand(4, 1280), torch.ones(4, 77))
        >>> states, pooled, mask = texts[:2].parts
        >>> len(Conditions.cat([texts, texts]))
        8

    Args:
        parts: tensors [B, ...], at least one.

    Raises:
        ValueError: no tensor, or tensors of different numbers of rows.
    """

    def __init__(self, *parts: Tensor) -> None:
        rows = [len(part) if part.ndim else None for part in parts]
        if not parts or None in rows or len(set(rows)) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in parts) or "no tensor"
            raise ValueError(
                f"conditions need one or more tensors with a row for each image, got {shapes}"
            )
        self.parts = parts

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.parts[0].device

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """The conditions of some images, chosen by a slice or by their numbers [N] int64."""
        return type(self)(*(part[rows] for part in self.parts))

    def split(self, rows: int) -> list[Self]:
        """In consecutive pieces of `rows` images; the last may have fewer."""
        pieces = zip(*(torch.split(part, rows) for part in self.parts), strict=True)
        return [type(self)(*piece) for piece in pieces]

    @classmethod
    def cat(cls, several: Sequence[Self]) -> Self:
        """The rows of several conditions of the same kind, one behind the other."""
        together = zip(*(conditions.parts for conditions in several), strict=True)
        return cls(*(torch.cat(parts) for parts in together))

    @property
    def are_numbers(self) -> bool:
        """Whether each is a single number, as a class is."""
        return len(self.parts) == 1 and self.parts[0].ndim == 1

    def distinct(self) -> tuple[Self, Tensor]:
        """The different conditions, and for each image which of them it has, [B] int64.

        Rows are compared where a condition is a single number, as a class is. Others, such as
        texts, are all taken to differ.
        """
        if self.are_numbers:
            found, which = torch.unique(self.parts[0], return_inverse=True)
            return type(self)(found), which
        return self, torch.arange(len(self), device=self.device)

    def to(self, device: str | torch.device) -> Self:
        """These conditions on a device."""
        return type(self)(*(part.to(device) for part in self.parts))
