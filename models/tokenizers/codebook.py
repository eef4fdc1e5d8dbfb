"""What tokenizers share: the check of what they are given, and the nearest code of a vector."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 4096


def check_images(images: Tensor, factor: int) -> None:
    """Refuse what cannot be tokenised.

    Raises:
        ValueError: not [B, 3, H, W], or a side that is no multiple of the factor.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3:
        raise ValueError(f"images of the shape {shape} are not [B, 3, H, W]")
    if shape[2] % factor or shape[3] % factor:
        raise ValueError(f"images of {shape[2]} x {shape[3]} pixels are no multiples of {factor}")


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code of least squared distance, in float32 whatever autocast says.

    Args:
        vectors: [N, D].
        codebook: [K, D].

    Returns:
        [N] int64 in [0, K); of equal distances the first.
    """
    # |v - c|^2 less |v|^2, in blocks: no [N, K, D] is ever there. Half precision takes other codes.
    with torch.autocast(vectors.device.type, enabled=False):
        codes = codebook.float()
        norms = codes.square().sum(1)
        found = [
            torch.addmm(norms, block, codes.T, alpha=-2).argmin(1)
            for block in torch.split(vectors.float(), BLOCK)
        ]
    return torch.cat(found)
