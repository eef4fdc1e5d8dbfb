"""Sheets of samples: for the report, and as pictures with the names of the classes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dashboards.formatting import with_error
from dashboards.input import ClassGrid, Result
from dashboards.samples import data_uri, grid, png, shrunk

PIXELS = 1_200_000
"""The most pixels of all samples in a report, to keep it small."""
WIDTH, LABEL_HEIGHT = 480, 16
"""Of a picture of samples, at least, and of the line with the classes above it; pixels."""
REAL = "real images"


def sheets_part(
    ranked: Iterable[tuple[str, Result]], colour: Mapping[str, str], real: ClassGrid | None
) -> list[dict[str, Any]]:
    """The sheets for the report's template: real images first, then the samples of each result.

    Args:
        ranked: the results by label, in the order to show.
        colour: of each label.
        real: real images of the same classes, if they are known.
    """
    sampled = [(label, result) for label, result in ranked if result.samples is not None]
    if not sampled:
        return []
    count = sum(len(r.samples) for _, r in sampled if r.samples is not None)
    side = max(1, math.isqrt(PIXELS // count))
    parts = [] if real is None else [_part(REAL, None, "", in_rows(real), real.classes, side)]
    for label, result in sampled:
        if result.samples is not None:
            number = with_error(result.value, result.standard_error)
            classes = result.sample_classes
            parts.append(_part(label, colour[label], number, result.samples, classes, side))
    return parts


def in_rows(real: ClassGrid) -> npt.NDArray[np.uint8]:
    """The images of a grid row by row, [rows * columns, ...]."""
    return real.images.reshape(-1, *real.images.shape[2:])


def samples_png(images: npt.NDArray[np.uint8], classes: Sequence[str] = ()) -> bytes:
    """Draw a sheet of images as a PNG file, below the names of the classes of its columns.

    Args:
        images: uint8 [n, H, W] or [n, H, W, 3], row by row.
        classes: of the columns; empty for a sheet that is as square as possible.
    """
    sheet = grid(images, len(classes) or None)
    times = max(1, math.ceil(WIDTH / sheet.shape[1]))
    if not classes:
        return png(sheet, WIDTH)
    sheet = sheet.repeat(times, axis=0).repeat(times, axis=1)
    head = np.full((LABEL_HEIGHT, *sheet.shape[1:]), 255, np.uint8)
    picture = Image.fromarray(np.concatenate([head, sheet]))
    draw, width = ImageDraw.Draw(picture), sheet.shape[1] / len(classes)
    font = ImageFont.load_default(11)
    for column, name in enumerate(classes):
        fitting = name
        while fitting and draw.textlength(fitting, font) > width - 4:
            fitting = fitting[:-1]
        middle = ((column + 0.5) * width, LABEL_HEIGHT / 2)
        black = 0 if picture.mode == "L" else (0, 0, 0)
        draw.text(middle, fitting, black, font, anchor="mm")
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _part(
    label: str,
    colour: str | None,
    number: str,
    images: npt.NDArray[np.uint8],
    classes: Sequence[str],
    side: int,
) -> dict[str, Any]:
    small = min(images.shape[1:3]) <= side
    sheet = grid(shrunk(images, side), len(classes) or None)
    return {
        "label": label,
        "colour": colour,
        "fid": number,
        "count": len(images),
        "classes": list(classes),
        "sharp": small,
        "uri": data_uri(png(sheet, colours=256)),
    }
