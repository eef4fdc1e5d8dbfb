"""Compiled forward passes of generators.

R: the rows that are computed at once, P: the positions that are predicted.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.compiled_rows import CompiledRows
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator, PredictsPlaces


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
        if isinstance(generator, PredictsPlaces):
            self.logits_at = _CompiledPlaces(generator, rows, backend)

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        return self._forward(tokens, *conditions.parts)


class _CompiledPlaces:
    """The compiled logits of some positions; see `PredictsPlaces.logits_at`."""

    def __init__(self, generator: PredictsPlaces, rows: int, backend: Any) -> None:
        def forward(places: Tensor, tokens: Tensor, *parts: Tensor) -> Tensor:
            return generator.logits_at(tokens, Conditions(*parts), places)

        self._forward = CompiledRows(forward, rows, "forward passes", backend, any_columns=True)

    def __call__(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        """Return [B, P, K]."""
        count = places.shape[1]
        # Compilers treat a single position, and other strides, apart, and take as long again.
        several = places if count > 1 else places.expand(-1, 2)
        return self._forward(several.contiguous(), tokens, *conditions.parts)[:, :count]
