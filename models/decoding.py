"""Parallel decoding: from a fully masked image to all its tokens in T steps (AutoNAT, section 3).

All noise comes from uniform numbers, the same amount at every step and for every strategy, so that
two strategies with equally seeded generators see the same noise (common random numbers).
B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator, PredictsPlaces
from models.token_orders import follows_halton, halton_places, scores_of
from search.strategy import GenerationStrategy

LOWEST_TEMPERATURE = 1e-4

Watch = Callable[[Tensor, Tensor], None]
"""Is shown each step: the tokens that it sampled, [B, L] in [0, K), and those that are then left,
[B, L], where the mask token stands for those that were masked again."""


@torch.inference_mode()
def generate(
    generator: MaskedGenerator,
    conditions: Conditions,
    strategy: GenerationStrategy,
    random: torch.Generator | None = None,
    rows: int | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Generate the tokens of an image for each condition.

    Args:
        generator: predicts the tokens.
        conditions: the conditions of B images, on the generator's device.
        strategy: the generation strategy, with T <= L steps.
        random: the source of all randomness, on the generator's device.
        rows: how many images the generator sees at once; None for all. Only rounding depends on it.
        watch: called after each of the T steps; it changes nothing.

    Returns:
        The tokens, [B, L] int64 in [0, K).

    Raises:
        ValueError: there are more steps than tokens, or the token order is a Halton sequence but
            the tokens are not a grid.
    """
    length, mask = generator.tokens, generator.mask_token
    counts = strategy.masked_counts(length)
    batch, device = len(conditions), conditions.device
    tokens = torch.full((batch, length), mask, device=device)
    scores = scores_of(strategy, generator.grid)
    if watch is None and isinstance(generator, PredictsPlaces) and follows_halton(strategy):
        return _generate_in_order(generator, conditions, strategy, random, rows)
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
        tokens = sampled
        if counts[t] > 0:
            kept = scores(t, logits, sampled, noise[1]).masked_fill(~masked, torch.inf)
            lowest = kept.topk(counts[t], dim=1, largest=False, sorted=False).indices
            tokens = sampled.scatter(1, lowest, mask)
        if watch is not None:
            watch(sampled, tokens)
    return tokens


def _generate_in_order(
    generator: PredictsPlaces,
    conditions: Conditions,
    strategy: GenerationStrategy,
    random: torch.Generator | None,
    rows: int | None,
) -> Tensor:
    """Return the tokens of `generate` where the order of tokens is known before they are sampled.

    Logits are computed only where a token is set; the noise is that of `generate`.
    """
    length, batch, device = generator.tokens, len(conditions), conditions.device
    tokens = torch.full((batch, length), generator.mask_token, device=device)
    order = torch.empty(0)
    shown = 0
    for t, masked in enumerate(strategy.masked_counts(length)):
        noise = torch.rand((2, batch, length), device=device, generator=random)
        scale = strategy.guidance_scale[t] if strategy.guided[t] else 0.0
        if t == 0:
            order = halton_places(strategy, generator.grid, noise[1])
        places = order[:, shown : length - masked]
        if t == 0:
            logits = _at(first_logits(generator, tokens, conditions, scale, rows), places)
        else:
            logits = _guided_at(generator, tokens, conditions, scale, places, rows)
        uniforms = noise[0].gather(1, places)
        sampled = sample_tokens(logits, strategy.sampling_temperature[t], uniforms)
        tokens = tokens.scatter(1, places, sampled)
        shown = length - masked
    return tokens


def _guided_at(
    generator: PredictsPlaces,
    tokens: Tensor,
    conditions: Conditions,
    scale: float,
    places: Tensor,
    rows: int | None,
) -> Tensor:
    """Return `guided_logits` at places [B, P] of each image: [B, P, K]."""
    if scale > 0:
        conditions = Conditions.cat([conditions, generator.null(conditions)])
        tokens, places = torch.cat([tokens, tokens]), torch.cat([places, places])
    rows = rows or len(tokens)
    pieces = zip(
        *(torch.split(tokens, rows), conditions.split(rows), torch.split(places, rows)), strict=True
    )
    logits = torch.cat([generator.logits_at(*piece).float() for piece in pieces])
    if scale == 0:
        return logits
    cond, uncond = logits.chunk(2)
    return torch.lerp(uncond, cond, 1 + scale)


def _at(logits: Tensor, places: Tensor) -> Tensor:
    """Return logits [B, L, K] at places [B, P]: [B, P, K]."""
    return logits.gather(1, places[..., None].expand(-1, -1, logits.shape[-1]))


def first_logits(
    generator: MaskedGenerator,
    tokens: Tensor,
    conditions: Conditions,
    scale: float,
    rows: int | None = None,
) -> Tensor:
    """Return `guided_logits` of the first step, where all tokens are masked.

    The logits then depend on nothing but the condition, so each distinct condition is computed only
    once, as is the null condition.
    """
    kinds, kind = conditions.distinct()
    cond = _logits_in_pieces(generator, tokens[: len(kinds)], kinds, rows)
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
    """Return cond + scale * (cond - uncond), [B, L, K]; at a scale of 0 uncond is not computed."""
    if scale == 0:
        return _logits_in_pieces(generator, tokens, conditions, rows)
    every = Conditions.cat([conditions, generator.null(conditions)])
    both = _logits_in_pieces(generator, torch.cat([tokens, tokens]), every, rows)
    cond, uncond = both.chunk(2)
    return torch.lerp(uncond, cond, 1 + scale)


def _logits_in_pieces(
    generator: MaskedGenerator, tokens: Tensor, conditions: Conditions, rows: int | None
) -> Tensor:
    if rows is None or rows >= len(tokens):
        return generator(tokens, conditions).float()
    parts = zip(torch.split(tokens, rows), conditions.split(rows), strict=True)
    return torch.cat([generator(*part).float() for part in parts])


def sample_tokens(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """Sample from Categorical(logits / temperature) by inverse transform.

    Args:
        logits: [B, L, K].
        temperature: 0 takes the most probable token; other values below 1e-4 count as 1e-4.
        uniforms: [B, L] in [0, 1).

    Returns:
        The tokens, [B, L] int64.
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits / max(temperature, LOWEST_TEMPERATURE), -1).cumsum(-1)
    # The rounded sum may differ from 1. Scaled by it, a uniform never lies beyond the last token of
    # probability > 0.
    thresholds = uniforms[..., None] * cumulative[..., -1:]
    return torch.searchsorted(cumulative, thresholds, right=True)[..., 0]
