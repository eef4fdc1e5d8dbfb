"""Token orders: which of an image's tokens stay masked after a step, as scores of all tokens.

Decoding keeps the tokens of the highest scores. Every order is handed the same uniform numbers at
every step, whether it looks at them or not, so that all strategies meet the same noise.
B: images, L: tokens an image, K: codebook size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search.strategy import GenerationStrategy

Scores = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""From the step t, logits [B, L, K], sampled tokens [B, L] and uniforms [B, L] in [0, 1) to scores
[B, L]."""


def scores_of(strategy: GenerationStrategy, grid: tuple[int, int] | None) -> Scores:
    """How a strategy scores tokens while it generates a batch.

    Args:
        strategy: what its token_order and its confidence say.
        grid: rows and columns of the tokens; None where they are no grid.

    Raises:
        ValueError: Halton's order without a grid.
    """
    if strategy.token_order == "random":
        return lambda t, logits, sampled, uniforms: uniforms
    if strategy.token_order.startswith("halton"):
        if grid is None:
            raise ValueError(
                f"token_order = {strategy.token_order!r} walks over a grid of tokens, but the "
                "tokens of this generator are no grid"
            )
        return _halton(grid, rolled=strategy.token_order == "halton-rolled")

    def by_confidence(t: int, logits: Tensor, sampled: Tensor, uniforms: Tensor) -> Tensor:
        noise = strategy.remask_temperature[t]
        return confidences(logits, sampled, noise, uniforms, strategy.confidence)

    return by_confidence


def confidences(
    logits: Tensor,
    sampled: Tensor,
    remask_temperature: float,
    uniforms: Tensor,
    kind: str = "log_probability",
) -> Tensor:
    """Confidence of the sampled tokens + remask_temperature * Gumbel(0, 1); [B, L].

    Args:
        logits: [B, L, K], not tempered.
        sampled: [B, L] int64.
        remask_temperature: scale of the noise.
        uniforms: [B, L] in [0, 1).
        kind: log softmax(logits)[sampled], "log_probability", or logits[sampled], "logit".
    """
    chosen = logits.gather(-1, sampled[..., None])[..., 0]
    if kind == "log_probability":
        chosen = chosen - logits.logsumexp(-1)
    tiny = torch.finfo(uniforms.dtype).tiny
    gumbel = -torch.log(-torch.log(uniforms.clamp(tiny, 1 - 2**-24)))
    return chosen + remask_temperature * gumbel


def _halton(grid: tuple[int, int], rolled: bool) -> Scores:
    """The later a token's turn, the lower its score. Rolled, an image's walk begins at a place of
    its own, which the first step's uniforms draw: order'[i] = order[(i - offset) mod L]."""
    order = halton_order(grid)
    length = len(order)
    turns = torch.from_numpy(np.argsort(order))
    offsets = torch.zeros(1, 1, dtype=torch.int64)

    def by_turn(t: int, logits: Tensor, sampled: Tensor, uniforms: Tensor) -> Tensor:
        nonlocal offsets
        if rolled and t == 0:
            offsets = (uniforms[:, :1] * length).long().clamp_(max=length - 1)
        turn = (turns.to(uniforms.device) + offsets.to(uniforms.device)) % length
        return (-turn).float().expand(len(sampled), -1).clone()

    return by_turn


@lru_cache(maxsize=16)
def halton_order(grid: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The flat positions of a grid, row by row, in the order in which the Halton sequence in bases
    2 (rows) and 3 (columns) first visits them (Halton-MaskGIT; Besnier et al. 2025); [L]."""
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
    """The digits of a number behind the point, the last one first."""
    share, found = 1.0, 0.0
    while number:
        share /= base
        number, digit = divmod(number, base)
        found += share * digit
    return found
