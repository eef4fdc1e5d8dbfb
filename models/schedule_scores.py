"""Scores of schedules: how the probability of generated images depends on a strategy's values.

An image is made by random choices whose probabilities are known: at each step, which tokens are
kept, and what they are. The score of an image is the derivative of the log probability of all its
choices, and the derivative of any expectation over images is the mean of (function of the image) x
score (REINFORCE; Williams 1992). Here it is in closed form, with less noise than the score of
everything that was drawn: tokens that are masked again have no influence on the image, so a step's
score is that of the kept tokens alone, with the others summed out.

That sum is simple. Adding independent Gumbel noise of scale r to the confidence c of a token and
keeping the highest is the same as waiting for exponential clocks of rates exp(c / r) and keeping
the first ones. Given the time at which the last kept token arrived, which decoding knows as the
lowest score that it kept, all other tokens are independent: one that was kept arrived before that
time, and one that was masked again did not, whichever of the K tokens it was. Noise that is spread
evenly over the image (see models.token_orders) only changes the rates: it is known before tokens
are drawn.

B: images, L: tokens per image, P: those that are masked before a step, K: codebook size, T: steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.decoding import logits_at_places, masked_logits
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator
from models.sampling import LOWEST_TEMPERATURE, sample_known
from models.token_orders import even_noise, independent_scale, scores_of
from search.seeds import derived_seed
from search.strategy import GenerationStrategy

BISECTIONS = 20
"""Halvings of the range in which a time is sought; only the noise of scores depends on it."""
FORECASTS = 2
"""The number of steps with forecasts. Those of earlier steps predict nothing, and each costs the
pixels and features of an image."""
PIECE = 2**27
"""The logits of which scores are made at once; they need about ten times their memory."""
LARGEST_LOG = 60.0
"""Bound of the log of a rate times a time, beyond which exp(-u) is 0 or 1 in float32."""


class Scored(NamedTuple):
    """Generated images with their scores.

    Attributes:
        tokens: [B, L] int64 in [0, K), those of `models.decoding.generate`.
        scores: derivatives in the logs of the T sampling temperatures, the logs of the T - 1 remask
            temperatures and the T guidance scales, [B, 3T - 1].
        forecasts: for each of the last FORECASTS steps, tokens that were drawn independently of
            what the step chose, from what was visible before it; [FORECASTS, B, L] in [0, K), fewer
            with fewer steps. What they predict of an image lowers the noise of a derivative.
    """

    tokens: Tensor
    scores: Tensor
    forecasts: Tensor


class Step(NamedTuple):
    """What a step chose from, and its choice.

    Attributes:
        logits: guided logits, [B, P, K].
        slope: their derivative in the guidance scale, [B, P, K].
        sampled: the sampled tokens, [B, P] in [0, K).
        kept: whether a token was set by this step, [B, P] bool; the others were masked again.
        lowest: the lowest score that was kept, [B]; unused at the last step.
        last: which token has it, [B] int64 in [0, P); unused at the last step.
        even: the noise that is spread over the image, [B, P], in units of the independent noise.
    """

    logits: Tensor
    slope: Tensor
    sampled: Tensor
    kept: Tensor
    lowest: Tensor
    last: Tensor
    even: Tensor


@torch.inference_mode()
def generate_scored(
    generator: MaskedGenerator,
    conditions: Conditions,
    strategy: GenerationStrategy,
    random: torch.Generator | None = None,
    rows: int | None = None,
) -> Scored:
    """Generate the images of `models.decoding.generate`, with the scores of the strategy.

    Every step computes the null logits, so guidance of 0 has a derivative too. Derivatives that do
    not exist are NaN: in a temperature of 0, and in the guidance of a step with such a temperature,
    because there the choice jumps as values change. Mask ratios are whole tokens and have none.

    Args:
        generator: see `generate`.
        conditions: see `generate`.
        strategy: see `generate`.
        random: see `generate`.
        rows: see `generate`.

    Raises:
        ValueError: see `generate`.
    """
    images, device = max(1, len(conditions)), conditions.device  # none are one empty piece
    seed = 0 if random is None else random.initial_seed()
    other = torch.Generator(device).manual_seed(derived_seed("forecasts", seed))
    shape = (len(conditions), generator.tokens)
    noise = []
    for t in range(strategy.steps):
        drawn = torch.rand((2, *shape), device=device, generator=random)
        forecast = t >= strategy.steps - FORECASTS
        fresh = [torch.rand((1, *shape), device=device, generator=other)] if forecast else []
        noise.append(torch.cat([drawn, *fresh]))
    at_once = images if rows is None else rows
    found = []
    for first, part in zip(range(0, images, at_once), conditions.split(at_once), strict=True):
        own = [drawn[:, first : first + at_once] for drawn in noise]
        found.append(_scored(generator, part, strategy, own, rows))
    tokens, scores, forecasts = zip(*found, strict=True)
    return Scored(torch.cat(tokens), torch.cat(scores), torch.cat(forecasts, 1))


def _scored(
    generator: MaskedGenerator,
    conditions: Conditions,
    strategy: GenerationStrategy,
    noise: Sequence[Tensor],
    rows: int | None,
) -> Scored:
    """The images of `generate_scored`, all at once.

    Args:
        generator: see `generate`.
        conditions: see `generate`.
        strategy: see `generate`.
        noise: the uniform numbers of each step, [2, B, L]: of the tokens, and of what is kept; of
            the last FORECASTS steps [3, B, L], with those of the forecast.
        rows: see `generate`.
    """
    length, mask, device = generator.tokens, generator.mask_token, conditions.device
    counts, batch = strategy.masked_counts(length), len(conditions)
    tokens = torch.full((batch, length), mask, device=device)
    order = scores_of(strategy, generator.grid)
    masked = torch.arange(length, device=device).expand(batch, length)
    strays = torch.zeros(batch, 1, dtype=torch.bool, device=device)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    forecasts = []
    for t, (of_tokens, of_order, *fresh) in enumerate(noise):
        scale = strategy.guidance_scale[t] if strategy.guided[t] else 0.0
        places = None if t == 0 else masked
        logits, slope = _logits(generator, tokens, conditions, scale, places, rows)
        warmth = strategy.sampling_temperature[t]
        for own in fresh:
            forecast, _ = sample_known(logits, warmth, own.gather(1, masked))
            forecasts.append(tokens.scatter(1, masked, forecast))
        sampled, strange = sample_known(logits, warmth, of_tokens.gather(1, masked))
        strays |= strange
        kept = torch.ones_like(masked, dtype=torch.bool)
        lowest, last = logits[:, 0, 0], sampled[:, 0]  # unused at the last step
        even = even_noise(strategy, generator.grid, of_order)
        even = (
            torch.zeros_like(kept, dtype=logits.dtype) if even is None else even.gather(1, masked)
        )
        tokens = tokens.scatter(1, masked, sampled)
        if counts[t] > 0:
            ranks = order(t, masked, logits, sampled, of_order)
            again = ranks.topk(counts[t], dim=1, largest=False, sorted=False).indices
            kept = kept.scatter(1, again, False)
            lowest, last = ranks.masked_fill(~kept, torch.inf).min(1)
            masked = masked.gather(1, again).sort(1).values
            tokens = tokens.scatter(1, masked, mask)
        step = Step(logits, slope, sampled, kept, lowest, last, even)
        columns.append(_in_pieces(step, strategy, t))
    sampling, remask, guidance = (torch.stack(one, 1) for one in zip(*columns, strict=True))
    scores = torch.cat([sampling, remask[:, :-1], guidance], 1)
    return Scored(tokens.masked_fill(strays, mask), scores, torch.stack(forecasts))


def _in_pieces(step: Step, strategy: GenerationStrategy, t: int) -> tuple[Tensor, Tensor, Tensor]:
    """The scores of `step_scores`, of as many images at once as PIECE has room for."""
    batch, places, codes = step.logits.shape
    images = max(1, PIECE // (places * codes))
    found = [
        step_scores(Step(*(part[first : first + images] for part in step)), strategy, t)
        for first in range(0, batch, images)
    ]
    sampling, remask, guidance = (torch.cat(parts) for parts in zip(*found, strict=True))
    return sampling, remask, guidance


def step_scores(step: Step, strategy: GenerationStrategy, t: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores of one step in log sampling and remask temperature and guidance; [B] each.

    They are those of the density of (kept tokens, time of the last kept token). Its logarithm is a
    sum over tokens, with p the probabilities of sampling, w = exp(c / r + even noise) the rates, u
    = w x time: log p + log(1 - exp(-u)) for a kept one, log p + log w - u for the last, and log of
    the mean of exp(-u) over p for one that is masked again.
    """
    warmth = strategy.sampling_temperature[t]
    batch = len(step.sampled)
    if warmth < LOWEST_TEMPERATURE:
        gone = torch.full((batch,), torch.nan, device=step.sampled.device)
        remask = gone if t < strategy.steps - 1 else torch.zeros_like(gone)
        return gone, remask, gone
    p = torch.softmax(step.logits / warmth, -1)
    # Derivatives of log p, for every token of the codebook.
    by_warmth = (_mean(p, step.logits)[..., None] - step.logits) / warmth
    by_scale = (step.slope - _mean(p, step.slope)[..., None]) / warmth
    sampling = (_at(by_warmth, step.sampled) * step.kept).sum(1)
    guidance = (_at(by_scale, step.sampled) * step.kept).sum(1)
    none, again = torch.zeros_like(sampling), ~step.kept
    if t == strategy.steps - 1 or not strategy.token_order.startswith("confidence"):
        return sampling, none, guidance
    noise = independent_scale(strategy) * strategy.remask_temperature[t]
    confidence, change = step.logits, step.slope
    if strategy.confidence == "log_probability":
        q = torch.softmax(step.logits, -1)
        change = step.slope - _mean(q, step.slope)[..., None]
        confidence = torch.log_softmax(step.logits, -1)
    lowest = step.lowest[:, None, None]
    if noise == 0:
        stays = p * (confidence < lowest)
        stays = stays / stays.sum(-1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
        sampling = sampling + (_mean(stays, by_warmth) * again).sum(1)
        return sampling, none * torch.nan, none * torch.nan
    log_u = (confidence - lowest) / noise + step.even[..., None]
    u = log_u.clamp(-LARGEST_LOG, LARGEST_LOG).exp()
    # What a token that is masked again may have been, and how probably.
    stays = torch.softmax(step.logits / warmth - u, -1)
    sampling = sampling + (_mean(stays, by_warmth) * again).sum(1)
    guidance = guidance + (_mean(stays, by_scale) * again).sum(1)
    own = _at(u, step.sampled)
    last = torch.zeros_like(step.kept).scatter(1, step.last[:, None], True)
    weights = torch.where(last, 1 - own, own / own.expm1()) * step.kept
    rates = _mean(p, confidence) / noise + step.even
    near = _near_threshold(rates, step.kept)

    def by_rates(change: Tensor) -> Tensor:
        """The score in a value of which the log rates [B, P, K] have this derivative.

        A common factor of the rates changes nothing but the time, so the derivative may be centred
        by anything that does not depend on the time, which lowers the noise.
        """
        centre = (near * _mean(p, change)).sum(1)[:, None, None]
        centred = change - centre
        of_kept = weights * _at(centred, step.sampled)
        return (of_kept - again * _mean(stays, u * centred)).sum(1)

    return sampling, by_rates(-confidence / noise), guidance + by_rates(change / noise)


def _near_threshold(rates: Tensor, kept: Tensor) -> Tensor:
    """Return how much each token's being kept depends on the time, [B, P], with sum 1.

    It is judged by the tokens' mean log rates [B, P] alone: at the time at which as many clocks are
    expected to have rung as tokens were kept, [B, P] bool.
    """
    count = kept.sum(1, keepdim=True)
    high = -rates.amin(1, keepdim=True) + 5
    low = -rates.amax(1, keepdim=True) - 10
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rung = -torch.expm1(-(rates + middle).clamp(-LARGEST_LOG, LARGEST_LOG).exp())
        few = rung.sum(1, keepdim=True) < count
        low, high = torch.where(few, middle, low), torch.where(few, high, middle)
    u = (rates + low).clamp(-LARGEST_LOG, LARGEST_LOG).exp()
    near = u * torch.exp(-u)
    return near / near.sum(1, keepdim=True).clamp(min=torch.finfo(near.dtype).tiny)


def _logits(
    generator: MaskedGenerator,
    tokens: Tensor,
    conditions: Conditions,
    scale: float,
    places: Tensor | None,
    rows: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the guided logits as `generate` computes them, and their derivative in the scale.

    Those of `generate` are equal to the last digit but in Halton orders, where it asks for fewer.
    Both are [B, P, K]. In the first step no places are given, which stand for all.
    """
    unconditional = generator.null(conditions)
    if places is None:
        kept, null, kind = masked_logits(generator, conditions, rows, guided=True)
        cond = kept[kind].float()
    elif scale == 0:
        cond = logits_at_places(generator, tokens, conditions, places, rows)
        null = logits_at_places(generator, tokens, unconditional, places, rows)
    else:
        every = Conditions.cat([conditions, unconditional])
        twice, there = torch.cat([tokens, tokens]), torch.cat([places, places])
        cond, null = logits_at_places(generator, twice, every, there, rows).chunk(2)
    return torch.lerp(null, cond, 1 + scale), cond - null


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    """The means over the codebook, [B, P], of values [B, P, K]."""
    return (weights * values).sum(-1)


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    """The values [B, P] of tokens [B, P], of values [B, P, K]."""
    return values.gather(-1, tokens[..., None])[..., 0]
