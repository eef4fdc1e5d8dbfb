"""The speed that a device reaches with large matrix products, with which others can be compared."""

from __future__ import annotations

import functools
import statistics
import time

import torch

from models.precision import computing_in, device
from models.threads import one_thread

SIDES = {"cuda": 8192, "cpu": 768}
"""The sides of the square matrices; a product takes milliseconds."""
REPEATS = 5


@functools.cache
def product_flops(precision: str = "float32") -> float:
    """Measure the floating-point operations per second of large products of random matrices.

    It is measured once in a process; on the CPU on one thread, as evaluations use.

    Args:
        precision: see models.precision.

    Raises:
        ValueError: the precision is unknown, or the GPU of this process lacks it.
    """
    where = device()
    side = SIDES[where]
    random = torch.Generator(where).manual_seed(0)
    a, b = torch.randn((2, side, side), device=where, generator=random)
    half = precision in ("bfloat16", "float16")
    if half:
        a, b = (matrix.to(getattr(torch, precision)) for matrix in (a, b))
    with one_thread(), torch.inference_mode(), computing_in(precision, autocast=False):
        a @ b  # libraries prepare themselves
        seconds = [_seconds_of_product(a, b) for _ in range(REPEATS)]
    return 2 * side**3 / statistics.median(seconds)


def _seconds_of_product(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the seconds of one product of matrices on their device."""
    synchronise()
    started = time.perf_counter()
    a @ b
    synchronise()
    return time.perf_counter() - started


def synchronise() -> None:
    """Wait until the GPU of this process, if there is one, has done all that it was given."""
    if device() == "cuda":
        torch.cuda.synchronize()
