"""Rows of data for training by their numbers, in memory or on disk.

B: rows read at once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Rows(Protocol):
    """Rows by number, such as a tensor."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, numbers: Tensor, /) -> Tensor:
        """Return the rows [B, ...] with these numbers [B] int64."""


class MappedRows:
    """Some rows of an array on disk, each of which is read only when it is needed.

    Args:
        array: a memory-mapped array [N, ...].
        chosen: the numbers of the chosen rows, [M] int64.
        dtype: the type of the returned tensors.
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
