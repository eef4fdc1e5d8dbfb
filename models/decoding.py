"""Parallel decoding: from all-masked to an image in T steps (AutoNAT, section 3).

All noise is uniform numbers, the same amount at every step and for every strategy, so that two
strategies with equally seeded generators meet the same noise (common random numbers).
B: images, L: tokens an image, K: codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.generators.nat import NAT
from search.strategy import GenerationStrategy

LOWEST_TEMPERATURE = 1e-4


@torch.inference_mode()
def generate(
    nat: NAT,
    conditions: Tensor,
    strategy: GenerationStrategy,
    generator: torch.Generator | None = None,
    rows: int | None = None,
) -> Tensor:
    """Generate an image for each class or text.

    Args:
        nat: in evaluation mode.
        conditions: classes [B] int64 in [0, num_classes), or states of texts [B, C, E], on the
            network's device.
        strategy: T <= L steps.
        generator: the source of all randomness, on the network's device.
        rows: images that the network sees at once; None: all. It changes nothing but rounding.

    Returns:
        [B, L] int64 in [0, K).

    Raises:
        ValueError: more steps than tokens.
    """
    length = nat.config.tokens
    counts = strategy.masked_counts(length)
    batch, device = len(conditions), conditions.device
    tokens = torch.full((batch, length), nat.mask_token, device=device)
    for t in range(strategy.steps):
        noise = torch.rand((2, batch, length), device=device, generator=generator)
        scale = strategy.guidance_scale[t] if strategy.guided[t] else 0.0
        if t == 0:
            logits = first_logits(nat, tokens, conditions, scale, rows)
        else:
            logits = guided_logits(nat, tokens, conditions, scale, rows)
        masked = tokens == nat.mask_token
        sampled = sample_tokens(logits, strategy.sampling_temperature[t], noise[0])
        sampled = torch.where(masked, sampled, tokens)
        if counts[t] == 0:
            return sampled
        confidence = confidences(logits, sampled, strategy.remask_temperature[t], noise[1])
        confidence.masked_fill_(~masked, torch.inf)
        lowest = confidence.topk(counts[t], dim=1, largest=False, sorted=False).indices
        tokens = sampled.scatter(1, lowest, nat.mask_token)
    return tokens


def first_logits(
    nat: NAT, tokens: Tensor, conditions: Tensor, scale: float, rows: int | None = None
) -> Tensor:
    """`guided_logits` with nothing visible: an image is its condition, and each class is computed
    only once, as is that of no class or text."""
    kinds, kind = conditions, torch.arange(len(conditions), device=conditions.device)
    if conditions.ndim == 1:
        kinds, kind = torch.unique(conditions, return_inverse=True)
    cond = _logits(nat, tokens[: len(kinds)], kinds, rows)
    if scale == 0:
        return cond[kind]
    uncond = nat(tokens[:1], nat.null(kinds[:1])).float()
    return torch.lerp(uncond, cond, 1 + scale)[kind]


def guided_logits(
    nat: NAT, tokens: Tensor, conditions: Tensor, scale: float, rows: int | None = None
) -> Tensor:
    """cond + scale * (cond - uncond), [B, L, K], in one pass; without uncond at a scale of 0."""
    if scale == 0:
        return _logits(nat, tokens, conditions, rows)
    every = torch.cat([conditions, nat.null(conditions)])
    cond, uncond = _logits(nat, torch.cat([tokens, tokens]), every, rows).chunk(2)
    return torch.lerp(uncond, cond, 1 + scale)


def _logits(nat: NAT, tokens: Tensor, conditions: Tensor, rows: int | None) -> Tensor:
    parts = zip(
        torch.split(tokens, rows or len(tokens)),
        torch.split(conditions, rows or len(conditions)),
        strict=True,
    )
    found = [nat(*part).float() for part in parts]
    return found[0] if len(found) == 1 else torch.cat(found)


def sample_tokens(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """Samples of Categorical(logits / temperature), by inverse transform; [B, L] int64.

    Args:
        logits: [B, L, K].
        temperature: taken as 1e-4 where it is lower.
        uniforms: [B, L] in [0, 1).
    """
    cumulative = torch.softmax(logits / max(temperature, LOWEST_TEMPERATURE), -1).cumsum(-1)
    # Scaled by the sum as rounded, a uniform never lands behind the last token of probability > 0.
    thresholds = uniforms[..., None] * cumulative[..., -1:]
    return torch.searchsorted(cumulative, thresholds, right=True)[..., 0]


def confidences(
    logits: Tensor, sampled: Tensor, remask_temperature: float, uniforms: Tensor
) -> Tensor:
    """log softmax(logits)[sampled] + remask_temperature * Gumbel(0, 1); [B, L].

    Args:
        logits: [B, L, K], not tempered.
        sampled: [B, L] int64.
        remask_temperature: scale of the noise.
        uniforms: [B, L] in [0, 1).
    """
    chosen = logits.gather(-1, sampled[..., None])[..., 0] - logits.logsumexp(-1)
    tiny = torch.finfo(uniforms.dtype).tiny
    gumbel = -torch.log(-torch.log(uniforms.clamp(tiny, 1 - 2**-24)))
    return chosen + remask_temperature * gumbel
