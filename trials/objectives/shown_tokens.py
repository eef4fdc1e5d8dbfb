"""The tokens of the images that pictures show. They are no part of what is measured.

B: images at once, L: tokens an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from models.generators.generator import MaskedGenerator
from search.seeds import derived_seed
from search.strategy import GenerationStrategy
from trials.objectives.generating import Chunk, Generating


def shown_conditions(generator: MaskedGenerator, most: int) -> list[int]:
    """Return the classes or texts to show: all of them, or `most` from the whole range.

    A generator without conditions has one, which is repeated.
    """
    known = generator.num_conditions or 1
    columns = most if known == 1 else min(most, known)
    return [column * known // columns for column in range(columns)]


def rows_of(
    generating: Generating[Any],
    strategy: GenerationStrategy,
    conditions: Sequence[int],
    rows: int,
    seed: int,
) -> Iterator[Tensor]:
    """Yield rows of tokens with an image of each condition, [B, L] int64 in [0, K).

    Args:
        generating: the generator, and how images are drawn from it.
        strategy: T <= L steps.
        conditions: the numbers of B classes or texts (see `shown_conditions`).
        rows: how many.
        seed: of all noise.
    """
    for row in range(rows):
        source = derived_seed("pictures", seed, row)
        yield generating.tokens_of_chunks([Chunk(strategy, source, _always(conditions))])[0]


def steps_of(
    generating: Generating[Any],
    strategy: GenerationStrategy,
    conditions: Sequence[int],
    seed: int,
) -> list[tuple[Tensor, Tensor]]:
    """Return the steps in which the first row of `rows_of` forms.

    Returns:
        For each step the tokens that it sampled and those that it left, where masked ones are the
        mask token; both [B, L].
    """
    steps: list[tuple[Tensor, Tensor]] = []
    source = derived_seed("pictures", seed, 0)
    chunk = Chunk(strategy, source, _always(conditions))
    generating.tokens_of_chunks([chunk], lambda *step: steps.append(step))
    return steps[-strategy.steps :]  # those before are of tries for which memory ran out


def _always(conditions: Sequence[int]) -> Callable[[torch.Generator], Tensor]:
    return lambda random: torch.tensor(conditions, device=random.device)
