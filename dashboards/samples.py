"""Generated images side by side, as one PNG."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

GAP = 128
"""The grey level between two images."""


def grid(images: npt.NDArray[Any], columns: int | None = None) -> npt.NDArray[np.uint8]:
    """Images [n, H, W] or [n, H, W, 3], uint8, n >= 1, as one with a gap of a pixel around each.

    Args:
        images: read row by row.
        columns: images a row; by default as square as can be.

    Raises:
        ValueError: another shape or type, no image, or columns < 1.
    """
    coloured = images.ndim == 4 and images.shape[3] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or coloured) or images.size == 0:
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, not uint8 [n, H, W] or [n, H, W, 3]"
        )
    n, height, width = images.shape[:3]
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns = {columns}: a row has at least one image")
    rows = math.ceil(n / columns)
    shape = (rows * (height + 1) + 1, columns * (width + 1) + 1, *images.shape[3:])
    sheet = np.full(shape, GAP, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image
    return sheet


def png(sheet: npt.NDArray[np.uint8], least_width: int = 0) -> bytes:
    """A PNG file of an image [H, W] or [H, W, 3], its pixels repeated until it is `least_width`
    wide, so that small images stay sharp wherever they are shown."""
    times = max(1, math.ceil(least_width / sheet.shape[1]))
    file = io.BytesIO()
    Image.fromarray(sheet.repeat(times, axis=0).repeat(times, axis=1)).save(
        file, format="PNG", optimize=True
    )
    return file.getvalue()
