"""Compiled forward passes of generators.

R: the rows that are computed at once.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.compiled_rows import CompiledRows
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator


class CompiledGenerator:
    """A generator whose logits are computed by a compiled forward pass (see `CompiledRows`).

    Args:
        generator: the generator.
        rows: R >= 1.
        backend: of torch.compile.
    """

    def __init__(self, generator: MaskedGenerator, rows: int, backend: Any = "inductor") -> None:
        self._generator = generator
        self.tokens, self.grid = generator.tokens, generator.grid
        self.mask_token, self.codebook_size = generator.mask_token, generator.codebook_size
        self.null = generator.null

        def forward(tokens: Tensor, *parts: Tensor) -> Tensor:
            return generator(tokens, Conditions(*parts))

        self._forward = CompiledRows(forward, rows, "forward passes", backend)

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        return self._forward(tokens, *conditions.parts)
