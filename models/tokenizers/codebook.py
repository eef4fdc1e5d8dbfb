"""Functions that tokenizers share: a check of images, and the nearest code of a vector."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 4096


def check_images(images: Tensor, factor: int) -> None:
    """Refuse images that cannot be tokenised.

    Raises:
        ValueError: the shape is not [B, 3, H, W], or a side is not a multiple of the factor.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3:
        raise ValueError(f"expected images of shape [B, 3, H, W], got {shape}")
    if shape[2] % factor or shape[3] % factor:
        raise ValueError(
            f"expected images whose sides are multiples of {factor} pixels, got "
            f"{shape[2]} x {shape[3]}"
        )


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the code with the smallest squared distance.

    Args:
        vectors: [N, D].
        codebook: [K, D].

    Returns:
        The indices, [N] int64 in [0, K); the first of codes at equal distances.
    """
    # |v - c|^2 - |v|^2 in blocks, so that no tensor [N, K, D] is made. Always in float32, because
    # half precision would find other codes.
    with torch.autocast(vectors.device.type, enabled=False):
        codes = codebook.float()
        norms = codes.square().sum(1)
        found = [
            torch.addmm(norms, block, codes.T, alpha=-2).argmin(1)
            for block in torch.split(vectors.float(), BLOCK)
        ]
    return torch.cat(found)
