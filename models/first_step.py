"""The first step of decoding without a forward pass.

All tokens are then masked, so that logits depend on nothing but the condition. Where conditions are
few, they are computed once for all images.

B: images, C: conditions, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import torch

from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator, PredictsPlaces

MOST_LOGITS = 2**28
"""The most logits that are kept: 1 GiB in float32; 1,000 classes of AutoNAT have fewer."""


class KeepsFirstStep:
    """A generator, and the logits that it has for fully masked images.

    Args:
        generator: computes logits, from now on with the same weights.
        kinds: all its conditions, which are numbers from 0.
        rows: how many images it sees at once while they are computed.

    Attributes:
        cond: the logits of each condition, [C, L, K].
        uncond: those of the null condition, [1, L, K].
    """

    @torch.inference_mode()
    def __init__(self, generator: MaskedGenerator, kinds: Conditions, rows: int) -> None:
        self._generator = generator
        self.tokens, self.grid = generator.tokens, generator.grid
        self.mask_token, self.codebook_size = generator.mask_token, generator.codebook_size
        self.null = generator.null
        masked = torch.full((rows, self.tokens), self.mask_token, device=kinds.device)
        parts = [generator(masked[: len(part)], part) for part in kinds.split(rows)]
        self.cond = torch.cat(parts)
        self.uncond = generator(masked[:1], generator.null(kinds[:1]))
        if isinstance(generator, PredictsPlaces):
            self.logits_at = generator.logits_at

    def __call__(self, tokens: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """See `MaskedGenerator.__call__`."""
        return self._generator(tokens, conditions)


def few_conditions(generator: MaskedGenerator, device: str) -> Conditions | None:
    """Return all conditions, if they are numbers, and few enough to keep the logits of each."""
    count = generator.num_conditions or 1
    if count * generator.tokens * generator.codebook_size > MOST_LOGITS:
        return None
    numbers = torch.arange(count, device=device)
    if not generator.conditions_of(numbers[:1]).are_numbers:
        return None
    found = generator.conditions_of(numbers)
    return found if torch.equal(found.parts[0], numbers) else None
