"""Parallel decoding: from a fully masked image to all its tokens in T steps (AutoNAT, section 3).

All noise comes from uniform numbers, the same amount at every step and for every strategy, so that
two strategies with equally seeded generators see the same noise (common random numbers).
B: images, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.first_step import KeepsFirstStep
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator, PredictsPlaces
from models.sampling import sample_known
from models.token_orders import Scores, follows_halton, halton_places, scores_of
from search.strategy import GenerationStrategy

CPU_TOKENS = 2**12
"""The tokens of all images that a generator sees at once on a CPU. More leave its caches, and are
slower: a forward pass of the large letters took 1.7 to 2 times as long for 504 images as for 16."""

Watch = Callable[[Tensor, Tensor], None]
"""Is shown each step: the tokens that it sampled, [B, L] in [0, K), and those that are then left,
[B, L], where the mask token stands for those that were masked again."""


@dataclass(frozen=True)
class Batch:
    """Images that are generated with one strategy from one source of noise.

    Attributes:
        conditions: the conditions of B images, on the generator's device.
        strategy: the generation strategy, with T <= L steps.
        random: the source of all randomness, on that device.
    """

    conditions: Conditions
    strategy: GenerationStrategy
    random: torch.Generator | None = None


@dataclass(frozen=True)
class _Asked:
    """What a batch needs for its next step: logits at `places` [B, P].

    In the `first` step all tokens are masked, and no places stand for all of them.
    """

    tokens: Tensor
    conditions: Conditions
    scale: float
    first: bool
    places: Tensor | None = None


_Decoding = Generator[_Asked, Tensor, Tensor]
"""The decoding of a batch: it asks for logits, is sent them, and returns the tokens in the end."""


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
        rows: how many images are generated at once, which bounds the memory of their logits; None:
            all of them, of which the generator sees as many as `logits_in_pieces` says. Only
            rounding depends on it.
        watch: called after each of the T steps; it changes nothing but that all images are
            generated at once.

    Returns:
        The tokens, [B, L] int64 in [0, K); an image for which logits were NaN or +infinity, or left
        no probability, has the mask token everywhere.

    Raises:
        ValueError: there are more steps than tokens, or the token order is a Halton sequence but
            the tokens are not a grid.
    """
    batch = Batch(conditions, strategy, random)
    noise = _noise(batch, generator.tokens)
    images = max(1, len(conditions))  # none are one empty piece
    at_once = images if rows is None or watch is not None else rows
    found = []
    for first, part in zip(range(0, images, at_once), conditions.split(at_once), strict=True):
        own = [drawn[:, first : first + at_once] for drawn in noise]
        decoding = _decoding(generator, Batch(part, strategy), own, watch)
        found += _in_step(generator, [decoding], rows)
    return torch.cat(found)


@torch.inference_mode()
def generate_together(
    generator: MaskedGenerator, batches: Sequence[Batch], rows: int | None = None
) -> list[Tensor]:
    """Generate the tokens of several batches step by step, in forward passes of all their rows.

    Each batch has its own strategy and its own noise, and only guided rows pay for guidance.

    Args:
        generator: predicts the tokens.
        batches: the batches; those whose strategies have fewer steps are done earlier.
        rows: how many images the generator sees at once, of any batch. Only rounding depends on it.
            None: it sees each batch by itself, so that all tokens are those of `generate`.

    Returns:
        The tokens of each batch, as `generate` returns them.

    Raises:
        ValueError: see `generate`.
    """
    length = generator.tokens
    decodings = [_decoding(generator, batch, _noise(batch, length)) for batch in batches]
    return _in_step(generator, decodings, rows)


def _noise(batch: Batch, length: int) -> list[Tensor]:
    """The uniform numbers of each step, [2, B, L]: of the tokens, and of what is kept."""
    shape, device = (2, len(batch.conditions), length), batch.conditions.device
    return [
        torch.rand(shape, device=device, generator=batch.random)
        for _ in range(batch.strategy.steps)
    ]


def _in_step(
    generator: MaskedGenerator, decodings: Sequence[_Decoding], rows: int | None
) -> list[Tensor]:
    """Take decodings to their ends, all of them a step at a time."""
    found: dict[int, Tensor] = {}
    asked = {number: next(decoding) for number, decoding in enumerate(decodings)}
    while asked:
        logits = _answers(generator, [*asked.values()], rows)
        for number in [*asked]:
            try:
                # No reference is kept, so that each batch can drop its logits.
                asked[number] = decodings[number].send(logits.pop(0))
            except StopIteration as ended:
                found[number] = ended.value
                del asked[number]
    return [found[number] for number in range(len(decodings))]


def _decoding(
    generator: MaskedGenerator, batch: Batch, noise: Sequence[Tensor], watch: Watch | None = None
) -> _Decoding:
    strategy = batch.strategy
    scores = scores_of(strategy, generator.grid)
    counts = strategy.masked_counts(generator.tokens)
    if watch is None and isinstance(generator, PredictsPlaces) and follows_halton(strategy):
        return _decoding_in_order(generator, batch, noise, counts)
    return _decoding_by_scores(generator, batch, noise, counts, scores, watch)


def _decoding_by_scores(
    generator: MaskedGenerator,
    batch: Batch,
    noise: Sequence[Tensor],
    counts: Sequence[int],
    scores: Scores,
    watch: Watch | None,
) -> _Decoding:
    """The decoding where scores decide which of the sampled tokens are kept.

    Only what is masked is sampled, so that it asks for logits only there.
    """
    strategy, mask = batch.strategy, generator.mask_token
    shape, device = (len(batch.conditions), generator.tokens), batch.conditions.device
    tokens = torch.full(shape, mask, device=device)
    masked = torch.arange(generator.tokens, device=device).expand(shape)
    strays = torch.zeros(len(tokens), 1, dtype=torch.bool, device=device)
    for t, (scale, (of_tokens, of_order)) in enumerate(zip(_scales(strategy), noise, strict=True)):
        places = None if t == 0 else masked
        logits = yield _Asked(tokens, batch.conditions, scale, t == 0, places)
        temperature = strategy.sampling_temperature[t]
        sampled, strange = sample_known(logits, temperature, of_tokens.gather(1, masked))
        strays |= strange
        shown = tokens = tokens.scatter(1, masked, sampled)
        if counts[t] > 0:
            kept = scores(t, masked, logits, sampled, of_order)
            lowest = kept.topk(counts[t], dim=1, largest=False, sorted=False).indices
            masked = masked.gather(1, lowest).sort(1).values
            tokens = shown.scatter(1, masked, mask)
        if watch is not None:
            watch(shown, tokens)
    return tokens.masked_fill(strays, mask)


def _decoding_in_order(
    generator: MaskedGenerator, batch: Batch, noise: Sequence[Tensor], counts: Sequence[int]
) -> _Decoding:
    """The decoding where the order of tokens is known before they are sampled.

    It asks for logits only where a token is set, and has the same noise.
    """
    strategy, length = batch.strategy, generator.tokens
    shape, device = (len(batch.conditions), length), batch.conditions.device
    tokens = torch.full(shape, generator.mask_token, device=device)
    order = halton_places(strategy, generator.grid, noise[0][1])
    strays = torch.zeros(len(tokens), 1, dtype=torch.bool, device=device)
    shown = 0
    for t, (scale, (of_tokens, _)) in enumerate(zip(_scales(strategy), noise, strict=True)):
        places = order[:, shown : length - counts[t]]
        if not places.shape[1]:  # the step sets no token
            continue
        logits = yield _Asked(tokens, batch.conditions, scale, t == 0, places)
        temperature = strategy.sampling_temperature[t]
        sampled, strange = sample_known(logits, temperature, of_tokens.gather(1, places))
        strays |= strange
        tokens = tokens.scatter(1, places, sampled)
        shown = length - counts[t]
    return tokens.masked_fill(strays, generator.mask_token)


def _scales(strategy: GenerationStrategy) -> list[float]:
    """The guidance of each step; 0 where there is none."""
    pairs = zip(strategy.guidance_scale, strategy.guided, strict=True)
    return [scale if guided else 0.0 for scale, guided in pairs]


def _answers(generator: MaskedGenerator, asked: Sequence[_Asked], rows: int | None) -> list[Tensor]:
    """The logits that each batch asked for, in the same step of all of them."""
    if rows is None:
        return [_logits(generator, [one], None)[0] for one in asked]
    return _logits(generator, asked, rows)


def _logits(generator: MaskedGenerator, asked: Sequence[_Asked], rows: int | None) -> list[Tensor]:
    """Logits cond + scale * (cond - uncond), [B, P, K]; at a scale of 0 uncond costs nothing."""
    if asked[0].first:
        return _first_logits(generator, asked, rows)
    guided = [one for one in asked if one.scale > 0]
    null = [generator.null(one.conditions) for one in guided]
    ways = [*asked, *guided]
    places = [one.places for one in ways if one.places is not None]  # none lacks them
    logits = logits_at_places(
        generator,
        torch.cat([one.tokens for one in ways]),
        Conditions.cat([*(one.conditions for one in asked), *null]),
        _joined(places),
        rows,
    )
    parts = [
        part[:, : own.shape[1]]
        for part, own in zip(torch.split(logits, [*map(len, places)]), places, strict=True)
    ]
    uncond = iter(parts[len(asked) :])
    return [
        torch.lerp(next(uncond), cond, 1 + one.scale) if one.scale > 0 else cond
        for one, cond in zip(asked, parts, strict=False)
    ]


def _first_logits(
    generator: MaskedGenerator, asked: Sequence[_Asked], rows: int | None
) -> list[Tensor]:
    """The logits of the first step, where all tokens are masked."""
    conditions = Conditions.cat([one.conditions for one in asked])
    guided = any(one.scale > 0 for one in asked)
    cond, uncond, kind = masked_logits(generator, conditions, rows, guided)
    found = []
    for one, own in zip(asked, torch.split(kind, [len(one.tokens) for one in asked]), strict=True):
        logits = cond[own].float()
        if one.scale > 0:
            logits = torch.lerp(uncond, logits, 1 + one.scale)
        found.append(logits if one.places is None else _at(logits, one.places))
    return found


def masked_logits(
    generator: MaskedGenerator, conditions: Conditions, rows: int | None, guided: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits of fully masked images.

    They depend on nothing but the condition, so each distinct condition is computed only once, as
    is the null condition, unless the generator keeps them.

    Args:
        generator: predicts the tokens.
        conditions: of B images.
        rows: see `logits_in_pieces`.
        guided: whether those of the null condition are needed.

    Returns:
        Those of each distinct condition, [C, L, K]; those of the null condition, [1, L, K] float32;
        and which of the C each image has, [B] int64.
    """
    if isinstance(generator, KeepsFirstStep):
        return generator.cond, generator.uncond.float(), conditions.parts[0]
    kinds, kind = conditions.distinct()
    shape = (len(kinds), generator.tokens)
    tokens = torch.full(shape, generator.mask_token, device=conditions.device)
    cond = logits_in_pieces(generator, tokens, kinds, rows)
    uncond = generator(tokens[:1], generator.null(kinds[:1])).float() if guided else cond[:0]
    return cond, uncond, kind


def _joined(places: Sequence[Tensor]) -> Tensor:
    """The places of all batches, [sum of B, largest P]; batches with fewer are padded by 0."""
    most = max(own.shape[1] for own in places)
    return torch.cat([pad(own, (0, most - own.shape[1])) for own in places])


def _at(logits: Tensor, places: Tensor) -> Tensor:
    """Return logits [B, L, K] at places [B, P]: [B, P, K]."""
    return logits.gather(1, places[..., None].expand(-1, -1, logits.shape[-1]))


def logits_at_places(
    generator: MaskedGenerator,
    tokens: Tensor,
    conditions: Conditions,
    places: Tensor,
    rows: int | None,
) -> Tensor:
    """Return the generator's logits at places [B, P], float32, [B, P, K].

    See `logits_in_pieces` for the other arguments. Only a generator that `PredictsPlaces` computes
    less than the logits of all places.
    """
    if not isinstance(generator, PredictsPlaces):
        return _at(logits_in_pieces(generator, tokens, conditions, rows), places)
    rows = rows or _rows_at_once(tokens)
    pieces = zip(
        torch.split(tokens, rows), conditions.split(rows), torch.split(places, rows), strict=True
    )
    return torch.cat([generator.logits_at(*piece).float() for piece in pieces])


def logits_in_pieces(
    generator: MaskedGenerator, tokens: Tensor, conditions: Conditions, rows: int | None
) -> Tensor:
    """Return the generator's logits, float32, [B, L, K], of at most `rows` images at once.

    Args:
        generator: predicts the tokens.
        tokens: [B, L] int64.
        conditions: of B images.
        rows: how many images the generator sees at once. None for all on a GPU; on a CPU for as
            many as stay in its caches.
    """
    rows = rows or _rows_at_once(tokens)
    if rows >= len(tokens):
        return generator(tokens, conditions).float()
    parts = zip(torch.split(tokens, rows), conditions.split(rows), strict=True)
    return torch.cat([generator(*part).float() for part in parts])


def _rows_at_once(tokens: Tensor) -> int:
    return len(tokens) if tokens.is_cuda else max(1, CPU_TOKENS // tokens.shape[1])
