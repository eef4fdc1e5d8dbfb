"""Samples tokens from logits, given uniform numbers.

B: images, L: positions, K: codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST_TEMPERATURE = 1e-4
FEW_CODES = 256
"""The most codes whose probabilities a thread of a GPU sums one by one."""


def sample_tokens(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """Sample from Categorical(logits / temperature) by inverse transform.

    Args:
        logits: [B, L, K].
        temperature: 0 takes the most probable token; other values below 1e-4 count as 1e-4.
        uniforms: [B, L] in [0, 1).

    Returns:
        The tokens, [B, L] int64; K where a logit is NaN or +infinity, or all are -infinity.
    """
    if temperature == 0:
        highest, found = logits.max(-1)
        return found.masked_fill(~highest.isfinite(), logits.shape[-1])
    cumulative = cumulated(torch.softmax(logits / max(temperature, LOWEST_TEMPERATURE), -1))
    # The rounded sum may differ from 1. Scaled by it, a uniform never lies beyond the last token of
    # probability > 0.
    thresholds = uniforms[..., None] * cumulative[..., -1:]
    return torch.searchsorted(cumulative, thresholds, right=True)[..., 0]


def sample_known(logits: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `sample_tokens` samples within [0, K), and which images had others, [B, 1].

    Looked up in a codebook, a token outside it would break the process on a GPU; to look for one at
    each step would make it wait.
    """
    drawn, codes = sample_tokens(logits, temperature, uniforms), logits.shape[-1]
    return drawn.clamp(max=codes - 1), (drawn == codes).any(1, keepdim=True)


def cumulated(probabilities: Tensor) -> Tensor:
    """Return cumulative sums over the last dimension of [B, L, K]; the argument may be overwritten.

    A GPU sums few codes slowly where they lie side by side, so that there positions do.
    """
    if not probabilities.is_cuda or probabilities.shape[-1] > FEW_CODES:
        return probabilities.cumsum_(-1)
    return probabilities.mT.contiguous().cumsum_(1).mT.contiguous()
