"""Parallel decoding: from all-masked to an image in T steps (AutoNAT, section 3).

All noise is uniform numbers, the same amount at every step and for every strategy, so that two
strategies with equally seeded generators meet the same noise (common random numbers).
B: images, L: tokens an image, K: codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator
from models.token_orders import scores_of
from search.strategy import GenerationStrategy

LOWEST_TEMPERATURE = 1e-4


@torch.inference_mode()
def generate(
    generator: MaskedGenerator,
    conditions: Conditions,
    strategy: GenerationStrategy,
    random: torch.Generator | None = None,
    rows: int | None = None,
) -> Tensor:
    """Generate the tokens of an image for each condition.

    Args:
        generator: predicts the tokens.
        conditions: of B images, on the generator's device.
        strategy: T <= L steps.
        random: the source of all randomness, on the generator's device.
        rows: images that the generator sees at once; None: all. It changes nothing but rounding.

    Returns:
        [B, L] int64 in [0, K).

    Raises:
        ValueError: more steps than tokens, or Halton's order where the tokens are no grid.
    """
    length, mask = generator.tokens, generator.mask_token
    counts = strategy.masked_counts(length)
    batch, device = len(conditions), conditions.device
    tokens = torch.full((batch, length), mask, device=device)
    scores = scores_of(strategy, generator.grid)
    for t in range(strategy.steps):
        noise = torch.rand((2, batch, length), device=device, generator=random)
        scale = strategy.guidance_scale[t] if strategy.guided[t] else 0.0
        if t == 0:
            logits = first_logits(generator, tokens, conditions, scale, rows)
        else:
            logits = guided_logits(generator, tokens, conditions, scale, rows)
        masked = tokens == mask
        sampled = sample_tokens(logits, strategy.sampling_temperature[t], noise[0])
        sampled = torch.where(masked, sampled, tokens)
        if counts[t] == 0:
            return sampled
        kept = scores(t, logits, sampled, noise[1]).masked_fill(~masked, torch.inf)
        lowest = kept.topk(counts[t], dim=1, largest=False, sorted=False).indices
        tokens = sampled.scatter(1, lowest, mask)
    return tokens


def first_logits(
    generator: MaskedGenerator,
    tokens: Tensor,
    conditions: Conditions,
    scale: float,
    rows: int | None = None,
) -> Tensor:
    """`guided_logits` with nothing visible: an image is its condition, and each class is computed
    only once, as is that of no class or text."""
    kinds, kind = conditions.distinct()
    cond = _logits(generator, tokens[: len(kinds)], kinds, rows)
    if scale == 0:
        return cond[kind]
    uncond = generator(tokens[:1], generator.null(kinds[:1])).float()
    return torch.lerp(uncond, cond, 1 + scale)[kind]


def guided_logits(
    generator: MaskedGenerator,
    tokens: Tensor,
    conditions: Conditions,
    scale: float,
    rows: int | None = None,
) -> Tensor:
    """cond + scale * (cond - uncond), [B, L, K], in one pass; without uncond at a scale of 0."""
    if scale == 0:
        return _logits(generator, tokens, conditions, rows)
    every = Conditions.cat([conditions, generator.null(conditions)])
    cond, uncond = _logits(generator, torch.cat([tokens, tokens]), every, rows).chunk(2)
    return torch.lerp(uncond, cond, 1 + scale)


def _logits(
    generator: MaskedGenerator, tokens: Tensor, conditions: Conditions, rows: int | None
) -> Tensor:
    if rows is None or rows >= len(tokens):
        return generator(tokens, conditions).float()
    parts = zip(torch.split(tokens, rows), conditions.split(rows), strict=True)
    return torch.cat([generator(*part).float() for part in parts])


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
