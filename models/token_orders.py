"""Token orders: scores that decide which tokens of an image are kept at each step.

Decoding keeps the tokens with the highest scores. Every order gets the same uniform numbers at
every step, whether it uses them or not, so that all strategies see the same noise.
B: images, L: tokens per image, P: tokens that are masked, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search.strategy import GenerationStrategy

Scores = Callable[[int, Tensor, Tensor, Tensor, Tensor], Tensor]
"""A function from the step t, places [B, P] in [0, L), the logits there [B, P, K], the tokens that
were sampled there [B, P], and uniforms of all positions [B, L] in [0, 1), to scores [B, P]."""

EVENNESS = 3.0
"""The even part of the noise of confidence-spread, in units of the independent part. More is lower
in FID (small letters, T = 4, more remask noise: 24.66 ± 0.19 without an independent part, 25.16 ±
0.13 with 3, 26.10 ± 0.19 with 0), and makes gradients noisier, by up to the root of 1 + 3^2."""
SKIPPED_DIGITS = 12
"""How many first binary digits of a uniform do not tell where a sequence starts; float32 has 24."""


def scores_of(strategy: GenerationStrategy, grid: tuple[int, int] | None) -> Scores:
    """Return the function with which a strategy scores tokens while it generates a batch.

    Args:
        strategy: the strategy; its token_order and confidence decide.
        grid: rows and columns of the tokens; None if they are not a grid.

    Raises:
        ValueError: the order or the noise follows a Halton sequence, but the tokens are not a grid.
    """
    if strategy.token_order == "random":
        return lambda t, places, logits, sampled, uniforms: uniforms.gather(1, places)
    if follows_halton(strategy):
        return _halton_scores(strategy, _require_grid(strategy, grid))
    if strategy.token_order == "confidence-spread":
        _require_grid(strategy, grid)
    scale = independent_scale(strategy)

    def by_confidence(
        t: int, places: Tensor, logits: Tensor, sampled: Tensor, uniforms: Tensor
    ) -> Tensor:
        noise = scale * strategy.remask_temperature[t]
        found = confidences(logits, sampled, noise, uniforms.gather(1, places), strategy.confidence)
        even = even_noise(strategy, grid, uniforms)
        return found if even is None else found + noise * even.gather(1, places)

    return by_confidence


def independent_scale(strategy: GenerationStrategy) -> float:
    """The scale of the independent noise on confidences, in units of the remask temperature."""
    return (1 + EVENNESS**2) ** -0.5 if strategy.token_order == "confidence-spread" else 1.0


def confidences(
    logits: Tensor,
    sampled: Tensor,
    remask_temperature: float,
    uniforms: Tensor,
    kind: str = "log_probability",
) -> Tensor:
    """Return the confidences of the sampled tokens + remask_temperature * Gumbel(0, 1); [B, P].

    Args:
        logits: [B, P, K], not divided by a temperature.
        sampled: [B, P] int64.
        remask_temperature: the scale of the noise.
        uniforms: [B, P] in [0, 1).
        kind: "log_probability" for log softmax(logits)[sampled], "logit" for logits[sampled].
    """
    chosen = logits.gather(-1, sampled[..., None])[..., 0]
    if kind == "log_probability":
        chosen = chosen - logits.logsumexp(-1)
    return chosen + remask_temperature * gumbel(uniforms)


def even_noise(
    strategy: GenerationStrategy, grid: tuple[int, int] | None, uniforms: Tensor
) -> Tensor | None:
    """Return the noise of confidence-spread that is spread evenly over each image, [B, L].

    It is in units of the independent noise to which it is added. The Gumbel quantiles of the L
    midpoints (i + 1/2) / L, times EVENNESS, are dealt to the positions in the turns of a Halton
    sequence, which starts elsewhere for each image and step. The number of each position has the
    same distribution, but those of neighbours differ: where noise decides, the tokens that are kept
    lie more evenly over the image, and where confidence decides, nothing changes.

    Args:
        strategy: other orders have no such noise, and None is returned.
        grid: rows and columns of the tokens.
        uniforms: [B, L] in [0, 1), from whose last digits the starts are drawn: a change of these
            moves the independent noise that is made of them by less than 2^-12 of its quantiles.

    Raises:
        ValueError: the tokens are not a grid.
    """
    if strategy.token_order != "confidence-spread":
        return None
    turns = halton_turns(_require_grid(strategy, grid), uniforms.device)
    length = len(turns)
    starts = ((uniforms[:, :1] * 2**SKIPPED_DIGITS).frac() * length).long().clamp_(max=length - 1)
    late = (turns + starts) % length
    return EVENNESS * gumbel((length - late - 0.5).to(uniforms.dtype) / length)


def gumbel(uniforms: Tensor) -> Tensor:
    """Return the quantiles of the Gumbel distribution for uniforms in [0, 1)."""
    tiny = torch.finfo(uniforms.dtype).tiny
    return -torch.log(-torch.log(uniforms.clamp(tiny, 1 - 2**-24)))


@lru_cache(maxsize=16)
def halton_turns(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return the turn of each position in the Halton sequence over a grid; [L] int64."""
    return torch.from_numpy(np.argsort(halton_order(grid))).to(device)


def follows_halton(strategy: GenerationStrategy) -> bool:
    """Whether tokens are kept in a Halton order, which is known before they are sampled."""
    return strategy.token_order.startswith("halton")


def halton_places(
    strategy: GenerationStrategy, grid: tuple[int, int] | None, uniforms: Tensor
) -> Tensor:
    """Return the positions of each image in the order in which they are kept, [B, L] int64.

    If rolled, the sequence starts elsewhere for each image: order'[i] = order[(i - offset) mod L].

    Args:
        strategy: follows a Halton order.
        grid: rows and columns of the tokens.
        uniforms: [B, L] in [0, 1) of the first step, from which offsets are drawn.

    Raises:
        ValueError: the tokens are not a grid.
    """
    order = torch.tensor(halton_order(_require_grid(strategy, grid)), device=uniforms.device)
    length = len(order)
    offsets = torch.zeros_like(uniforms[:, :1], dtype=torch.int64)
    if strategy.token_order == "halton-rolled":
        offsets = (uniforms[:, :1] * length).long().clamp_(max=length - 1)
    turns = torch.arange(length, device=uniforms.device)
    return order[(turns - offsets) % length]


def _require_grid(strategy: GenerationStrategy, grid: tuple[int, int] | None) -> tuple[int, int]:
    if grid is None:
        raise ValueError(
            f"token_order = {strategy.token_order!r} needs a grid of tokens, but the tokens "
            "of this generator are not a grid"
        )
    return grid


def _halton_scores(strategy: GenerationStrategy, grid: tuple[int, int]) -> Scores:
    """Return scores that are lower for tokens whose turn in the Halton sequence is later."""
    scores = torch.empty(0)

    def by_turn(
        t: int, places: Tensor, logits: Tensor, sampled: Tensor, uniforms: Tensor
    ) -> Tensor:
        nonlocal scores
        if t == 0:
            scores = (-halton_places(strategy, grid, uniforms).argsort(1)).float()
        return scores.gather(1, places)

    return by_turn


@lru_cache(maxsize=16)
def halton_order(grid: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the flat positions of a grid in the order in which a Halton sequence visits them.

    Positions count row by row. The bases are 2 for rows and 3 for columns (Halton-MaskGIT; Besnier
    et al. 2025).
    """
    h, w = grid
    order: dict[int, None] = {}
    number = 1
    while len(order) < h * w:
        row, column = int(h * _halton_number(number, 2)), int(w * _halton_number(number, 3))
        order.setdefault(row * w + column)
        number += 1
    found = np.array(list(order), dtype=np.int64)
    found.flags.writeable = False
    return found


def _halton_number(number: int, base: int) -> float:
    """Return the radical inverse: the digits of a number after the point, the last one first."""
    share, found = 1.0, 0.0
    while number:
        share /= base
        number, digit = divmod(number, base)
        found += share * digit
    return found
