"""Puts generated images side by side in one PNG."""

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
    """Arrange images on one sheet, with a gap of one pixel around each.

    Args:
        images: uint8 [n, H, W] or [n, H, W, 3], n >= 1, placed row by row.
        columns: the number of images in a row; by default the sheet is as square as possible.

    Raises:
        ValueError: the shape or type is another, there is no image, or columns < 1.
    """
    coloured = images.ndim == 4 and images.shape[3] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or coloured) or images.size == 0:
        raise ValueError(
            "expected images as uint8 [n, H, W] or [n, H, W, 3], got "
            f"{images.dtype} {list(images.shape)}"
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
    """Encode an image [H, W] or [H, W, 3] as a PNG file.

    Pixels are repeated until the image is at least `least_width` wide, so that small images stay
    sharp when they are shown enlarged.
    """
    times = max(1, math.ceil(least_width / sheet.shape[1]))
    file = io.BytesIO()
    Image.fromarray(sheet.repeat(times, axis=0).repeat(times, axis=1)).save(
        file, format="PNG", optimize=True
    )
    return file.getvalue()
