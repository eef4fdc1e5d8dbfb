"""The precision in which networks compute, and the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""The known precisions. float32: single precision throughout. tf32: matrix products with 10-bit
mantissas on GPUs that support it. bfloat16, float16: by autocast; weights, sums and norms stay in
float32. Convolutions, of which tokenizers and Inception consist, always keep torch's default, with
which published FIDs were computed: TF32 on GPUs that support it."""


def device() -> str:
    """Return the device of this process: "cuda" if it has a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_precision(name: str, known: tuple[str, ...] = PRECISIONS) -> None:
    """Refuse an unknown precision.

    Raises:
        ValueError: the name is not one of `known`.
    """
    if name not in known:
        raise ValueError(f"precision = {name!r} is unknown; known: {', '.join(known)}")


@contextmanager
def computing_in(name: str) -> Iterator[None]:
    """Let networks compute in one of PRECISIONS within the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    half = name in ("bfloat16", "float16")
    dtype = getattr(torch, name) if half else None
    try:
        with torch.autocast(device(), dtype=dtype, enabled=half):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
