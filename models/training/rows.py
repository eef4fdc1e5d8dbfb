"""What a training reads: rows by their numbers, in memory or on disk.

B: rows asked for at once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Rows(Protocol):
    """Rows by number; a tensor is one."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, numbers: Tensor, /) -> Tensor:
        """Rows [B, ...] by their numbers [B] int64."""


class MappedRows:
    """Some rows of an array on disk; only those that are asked for are read.

    Args:
        array: [N, ...], memory-mapped.
        chosen: [M] int64, which of its rows these are.
        dtype: of what is given back.
    """

    def __init__(
        self,
        array: npt.NDArray[Any],
        chosen: npt.NDArray[np.int64],
        dtype: torch.dtype = torch.int64,
    ) -> None:
        self._array, self._chosen, self._dtype = array, chosen, dtype

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, numbers: Tensor, /) -> Tensor:
        """See `Rows`."""
        return torch.from_numpy(self._array[self._chosen[numbers.numpy()]]).to(self._dtype)
