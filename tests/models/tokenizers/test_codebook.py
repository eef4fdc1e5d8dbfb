from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.tokenizers.codebook import BLOCK, nearest


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made within it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


def test_the_nearest_codes_without_all_differences_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.rand(BLOCK + 100, 16, generator=generator)
    codes = torch.rand(200, 16, generator=generator)
    with Largest() as largest:
        found = nearest(vectors, codes)
    assert torch.equal(found, torch.cdist(vectors.double(), codes.double()).argmin(1))
    assert largest.numbers == BLOCK * 200  # [N, K] of a block


def test_the_first_of_equal_codes() -> None:
    codes = torch.tensor([[1.0], [0.0], [0.0]])
    assert nearest(torch.tensor([[0.2], [0.9]]), codes).tolist() == [1, 0]


def test_no_vectors() -> None:
    assert nearest(torch.zeros(0, 3), torch.zeros(2, 3)).shape == (0,)
