"""How many images a GPU's memory has room for, and what a CPU's process gives back of its own."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable

import torch
from torch import Tensor

SHARE = 0.5
"""The share of free memory that the generation of tokens may use; pixels and features are computed
beside it."""
MOST_TOKENS = 2**17
"""The tokens of all rows of a forward pass, above which more rows are no larger kernels for a GPU:
each has thousands of blocks already."""

GIB = 2**30


def rows_that_fit(tokens: int, tried: int, once: Callable[[], object]) -> int:
    """Return how many images may be generated at once on this process's GPU.

    It is halved from that of MOST_TOKENS until it fits, so that it does not depend on what else
    happens to be on the card, unless that is much.

    Args:
        tokens: L, the tokens of an image.
        tried: the images that `once` generates.
        once: generates some images, whose memory is measured.
    """
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    once()
    used = max(1, torch.cuda.max_memory_allocated() - before)
    rows = max(1, MOST_TOKENS // tokens)
    while rows > 1 and rows * used > SHARE * _free() * tried:
        rows //= 2
    return rows


def too_small(error: torch.OutOfMemoryError) -> torch.OutOfMemoryError:
    """Return the error that the memory is too small for a single image, and how much is needed."""
    asked = re.search(r"[Tt]ried to allocate ([\d.]+) ([KMG])iB", str(error))
    needed = ""
    if asked is not None and torch.cuda.is_available():
        size = float(asked[1]) * {"K": 2**10, "M": 2**20, "G": GIB}[asked[2]]
        size += torch.cuda.memory_allocated()
        total = torch.cuda.mem_get_info()[1]
        needed = f"at least {size / GIB:.2f} GiB are needed, the GPU has {total / GIB:.2f} GiB; "
    return torch.OutOfMemoryError(f"no memory for a single image: {needed}{error}")


def give_back_freed(x: Tensor) -> None:
    """Give freed memory back to the system before layers that are too large for its holes.

    On a CPU glibc keeps freed blocks of up to 32 MiB, between blocks in use, for later ones of at
    most their size. The last layers of a decoder are larger and would come on top of them.

    Args:
        x: the input of these layers; nothing happens if it is not on a CPU, or they are compiled.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if (trim := _malloc_trim()) is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """The function of glibc; other C libraries have none."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _free() -> int:
    """The bytes that this process could still use, with those that torch keeps for it."""
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(torch.cuda.mem_get_info()[0]) + kept
