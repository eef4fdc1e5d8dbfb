"""Functions compiled for one number of rows: fewer and larger kernels.

B: rows, R: the rows that are computed at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_said: set[str] = set()


class CompiledRows:
    """A function of tensors whose rows do not depend on each other, compiled for R rows.

    Fewer rows are padded, except so few that they are cheaper without. torch keeps what it compiled
    on disk, where other processes and later ones find it. Where compiling fails, the function
    computes as it is, and a warning says so once.

    Args:
        function: maps tensors [B, ...] to a tensor [B, ...].
        rows: R >= 1.
        what: the name of what is compiled, in the plural, for the warning.
        backend: of torch.compile.
        any_columns: whether the first tensor may have any number >= 2 of columns.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        rows: int,
        what: str,
        backend: Any = "inductor",
        any_columns: bool = False,
    ) -> None:
        self._function, self._rows, self._what = function, rows, what
        self._any_columns = any_columns
        dynamic = None if any_columns else False
        compiled: Callable[..., Tensor] = torch.compile(function, dynamic=dynamic, backend=backend)
        self._compiled: Callable[..., Tensor] | None = compiled

    def __call__(self, *parts: Tensor) -> Tensor:
        """Return what the function returns for tensors of B rows."""
        count = len(parts[0])
        if self._compiled is None or not self._rows // 2 < count <= self._rows:
            return self._function(*parts)
        padded = parts
        if count < self._rows:
            rows = torch.arange(self._rows, device=parts[0].device).clamp_(max=count - 1)
            padded = tuple(part[rows] for part in parts)
        try:
            if self._any_columns:
                from torch._dynamo import maybe_mark_dynamic  # slow to import

                maybe_mark_dynamic(padded[0], 1)
            return self._compiled(*padded)[:count]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise any error, of their own and of others' tools
            self._compiled = None
            warn_once(f"{self._what} are not compiled: {type(error).__name__}: {error}")
            return self._function(*parts)


def warn_once(what: str) -> None:
    """Say in one line that something is computed more slowly, once in a process."""
    line = " ".join(what.split())[:300]
    if line not in _said:
        _said.add(line)
        logger.warning("%s", line)
