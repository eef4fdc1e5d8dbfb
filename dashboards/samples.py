"""Puts images side by side on sheets, and writes these as PNG files."""

from __future__ import annotations

import base64
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


def png(sheet: npt.NDArray[np.uint8], least_width: int = 0, colours: int | None = None) -> bytes:
    """Encode an image [H, W] or [H, W, 3] as a PNG file.

    Args:
        sheet: the image.
        least_width: pixels are repeated until the image is at least so wide, so that small images
            stay sharp when they are shown enlarged.
        colours: the most different colours, up to 256, which make a file several times smaller;
            None for all.
    """
    times = max(1, math.ceil(least_width / sheet.shape[1]))
    picture = Image.fromarray(sheet.repeat(times, axis=0).repeat(times, axis=1))
    if colours is not None and picture.mode == "RGB":
        picture = _in_palette(picture, colours)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def data_uri(file: bytes) -> str:
    """The address of a PNG file that a page holds itself."""
    return "data:image/png;base64," + base64.b64encode(file).decode()


def shrunk(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Shrink images whose shorter side is longer than `side` pixels to that side.

    Args:
        images: uint8 [n, H, W] or [n, H, W, 3].
        side: in pixels, >= 1.
    """
    height, width = images.shape[1:3]
    factor = side / min(height, width)
    if factor >= 1:
        return images
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in images])


def _in_palette(picture: Image.Image, colours: int) -> Image.Image:
    """A picture in so few colours; one that has no more of them keeps them exactly."""
    if picture.getcolors(colours) is None:
        return picture.quantize(colours)
    pixels = np.asarray(picture)
    palette, places = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    exact = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
    exact.putpalette(palette.tobytes())
    return exact
