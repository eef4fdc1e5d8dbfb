"""How exactly a network computes, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""float32: as it says. tf32: products of 10 bits on a GPU that has them. bfloat16, float16: by
autocast; weights, sums and norms stay in float32. Convolutions, which tokenizers and Inception are
made of, keep torch's default, with which published FIDs were made: TF32 on a GPU that has it."""


def device() -> str:
    """Of this process: its GPU, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_precision(name: str, known: tuple[str, ...] = PRECISIONS) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: it is none of `known`.
    """
    if name not in known:
        raise ValueError(f"precision = {name!r} is unknown; known: {', '.join(known)}")


@contextmanager
def computing_in(name: str) -> Iterator[None]:
    """Within it networks compute in a precision of PRECISIONS."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    half = name in ("bfloat16", "float16")
    dtype = getattr(torch, name) if half else None
    try:
        with torch.autocast(device(), dtype=dtype, enabled=half):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
