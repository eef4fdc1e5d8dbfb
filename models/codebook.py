"""The nearest code of a vector: what vector quantisers share."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 4096


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code of least squared distance.

    Args:
        vectors: [N, D].
        codebook: [K, D].

    Returns:
        [N] int64 in [0, K); of equal distances the first.
    """
    # |v - c|^2 less |v|^2, in blocks: no [N, K, D] is ever there.
    norms = codebook.square().sum(1)
    found = [
        torch.addmm(norms, block, codebook.T, alpha=-2).argmin(1)
        for block in torch.split(vectors, BLOCK)
    ]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
