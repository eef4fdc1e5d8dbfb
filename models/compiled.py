"""Compiled forward passes: fewer and larger kernels, for one number of rows.

R: the rows that are computed at once, L: tokens per image, K: codebook size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator

logger = logging.getLogger(__name__)

_said: set[str] = set()


class CompiledGenerator:
    """A generator whose logits are computed by a compiled forward pass of R rows.

    Fewer rows are padded, except so few that they are cheaper without. torch keeps what it compiled
    on disk, where other processes and later ones find it. Where compiling fails, the generator
    computes as it is, and a warning says so once.

    Args:
        generator: the generator.
        rows: R >= 1.
        backend: of torch.compile.
    """

    def __init__(self, generator: MaskedGenerator, rows: int, backend: Any = "inductor") -> None:
        self._generator, self._rows = generator, rows
        self.tokens, self.grid = generator.tokens, generator.grid
        self.mask_token, self.codebook_size = generator.mask_token, generator.codebook_size
        self.null = generator.null

        def forward(tokens: Tensor, *parts: Tensor) -> Tensor:
            return generator(tokens, Conditions(*parts))

        compiled: Callable[..., Tensor] = torch.compile(forward, dynamic=False, backend=backend)
        self._forward: Callable[..., Tensor] | None = compiled

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """See `MaskedGenerator.__call__`."""
        count = len(tokens)
        if self._forward is None or not self._rows // 2 < count <= self._rows:
            return self._generator(tokens, conditions)
        if count < self._rows:
            padded = torch.arange(self._rows, device=tokens.device).clamp_(max=count - 1)
            tokens, conditions = tokens[padded], conditions[padded]
        try:
            return self._forward(tokens, *conditions.parts)[:count]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise any error, of their own and of others' tools
            self._forward = None
            _say_once(f"forward passes are not compiled: {type(error).__name__}: {error}")
            return self._generator(tokens, conditions)[:count]


def _say_once(what: str) -> None:
    line = " ".join(what.split())[:300]
    if line not in _said:
        _said.add(line)
        logger.warning("%s", line)
