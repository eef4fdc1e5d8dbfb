"""Which classes or texts the images of an evaluation have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CLASS_DRAWS = {"equal": "equal numbers", "random": "random"}
"""How classes, or texts, are drawn, each with the words for it in a protocol."""


def draw_conditions(
    way: str, count: int, first: int, chunk: int, random: torch.Generator
) -> Tensor:
    """Return the numbers of classes or texts of a chunk, [chunk] int64 in [0, count).

    Args:
        way: one of CLASS_DRAWS.
        count: how many classes or texts there are.
        first: the number of the first image.
        chunk: images of the chunk.
        random: the source of random ones; its device is that of the numbers.
    """
    if way == "random":
        return torch.randint(count, (chunk,), device=random.device, generator=random)
    numbers = torch.arange(first, first + chunk, device=random.device)
    return numbers * _stride(count, chunk) % count


def _stride(classes: int, chunk: int) -> int:
    """The step from the class of one image to that of the next.

    It is 1 where a chunk contains all classes. Otherwise it is the golden section of the classes,
    so that the classes of any run of images are spread evenly.
    """
    stride = 1 if classes <= chunk else round(classes * 0.618)
    while math.gcd(stride, classes) > 1:
        stride += 1
    return stride
