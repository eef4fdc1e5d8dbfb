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
    spread = strategy.token_order == "confidence-spread"
    turns = halton_turns(_require_grid(strategy, grid)) if spread else None

    def by_confidence(
        t: int, places: Tensor, logits: Tensor, sampled: Tensor, uniforms: Tensor
    ) -> Tensor:
        noise = strategy.remask_temperature[t]
        if turns is not None:
            uniforms = spread_uniforms(turns.to(uniforms.device), uniforms)
        return confidences(logits, sampled, noise, uniforms.gather(1, places), strategy.confidence)

    return by_confidence


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
    tiny = torch.finfo(uniforms.dtype).tiny
    gumbel = -torch.log(-torch.log(uniforms.clamp(tiny, 1 - 2**-24)))
    return chosen + remask_temperature * gumbel


def spread_uniforms(turns: Tensor, uniforms: Tensor) -> Tensor:
    """Return uniforms that are spread evenly over each image, in place of independent ones; [B, L].

    The L midpoints (i + 1/2) / L are dealt to the positions in the turns of a Halton sequence,
    which starts elsewhere for each image and step. The number of each position is uniform as
    before, but those of neighbours differ: where noise decides, the tokens that are kept lie evenly
    over the image, as in Halton-MaskGIT, and where confidence decides, nothing changes.

    Args:
        turns: the turn of each position, [L] int64.
        uniforms: [B, L] in [0, 1), from which the starts are drawn.
    """
    length = len(turns)
    starts = (uniforms[:, :1] * length).long().clamp_(max=length - 1)
    late = (turns + starts) % length
    return (length - late - 0.5).to(uniforms.dtype) / length


def halton_turns(grid: tuple[int, int]) -> Tensor:
    """Return the turn of each position in the Halton sequence over a grid; [L] int64."""
    return torch.from_numpy(np.argsort(halton_order(grid)))


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
