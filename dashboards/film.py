"""The film of how images form: their frames for the report, and as one picture.

Tokens that are still masked are covered with stripes, which no image has and every printer prints.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dashboards.input import Film, Result
from dashboards.samples import data_uri, grid, png, shrunk
from search.controls import RULE_OF_THUMB, best_searched

STRIPES = np.array([(86, 152, 202), (158, 204, 234)], np.uint8)
"""Two blues that all eyes tell apart, also without colour."""
LEAST_SIDE = 32
"""Small images are enlarged to so many pixels, so that stripes fit on a token."""
PIXELS = 600_000
"""The most pixels of all frames in a report, to keep it small."""
MOST_IN_ROW = 5
"""Images in one row of a sheet, if they fit into one."""
MOST_COLUMNS = 8
"""Steps in one row of the picture."""


def filmed(results: Sequence[Result]) -> list[Result]:
    """The results whose films belong side by side: where the search started, and what it found.

    The former is the rule of thumb or, where models were trained, another control.
    """
    found = best_searched([r for r in results if r.film is not None])
    if found is None:
        return []
    alike = [r for r in results if r.film is not None and r.strategy.steps == found.strategy.steps]
    controls = sorted((r for r in alike if not r.searched), key=lambda r: r.method != RULE_OF_THUMB)
    return [*controls[:1], found]


def film_part(results: Mapping[str, Result], colour: Mapping[str, str]) -> dict[str, Any] | None:
    """The films for the report's template; None where there are none."""
    shown = filmed([*results.values()])
    labels = {id(result): label for label, result in results.items()}
    films = {labels[id(result)]: result.film for result in shown if result.film is not None}
    if not films:
        return None
    count = sum(film.frames.shape[0] * film.frames.shape[1] for film in films.values())
    side = max(1, math.isqrt(PIXELS // count))
    return {
        "steps": shown[0].strategy.steps,
        "films": [
            {
                "label": label,
                "colour": colour[label],
                "frames": [
                    {"uri": data_uri(png(sheet, colours=256)), "kept": kept}
                    for sheet, kept in zip(sheets(film, side), kept_words(film), strict=True)
                ],
            }
            for label, film in films.items()
        ],
    }


def kept_words(film: Film) -> list[str]:
    """How many of an image's tokens are kept after each step, as text."""
    tokens = film.masked.shape[2]
    kept = (tokens - film.masked.sum(2)).mean(1).round().astype(int)
    return [f"{count} of {tokens} kept" for count in kept]


def sheets(film: Film, side: int) -> list[npt.NDArray[np.uint8]]:
    """The images after each step on one sheet, in a row or two, with masked tokens covered.

    Args:
        film: of n images.
        side: the longest that the shorter side of an image may be, in pixels.
    """
    images = film.frames.shape[1]
    columns = images if images <= MOST_IN_ROW else math.ceil(images / 2)
    return [
        grid(_covered(frame, masked, film.grid, side), columns)
        for frame, masked in zip(film.frames, film.masked, strict=True)
    ]


def film_png(films: Mapping[str, Film], side: int = 128) -> bytes:
    """Draw films below each other as one PNG file, a column for each step.

    Args:
        films: by label, at least one, of the same number of steps.
        side: the longest that the shorter side of an image may be, in pixels.
    """
    # Figure rather than pyplot, which would look for a screen; imported late, as it takes half a
    # second.
    from matplotlib.figure import Figure

    steps = len(next(iter(films.values())).frames)
    columns = min(steps, MOST_COLUMNS)
    rows = math.ceil(steps / columns)
    first = sheets(next(iter(films.values())), side)[0]
    height = 2.0 * first.shape[0] / first.shape[1] + 0.3
    size = (2.0 * columns, len(films) * (rows * height + 0.3))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    parts = np.ravel(figure.subfigures(len(films), 1, squeeze=False))
    for part, (label, film) in zip(parts, films.items(), strict=True):
        part.suptitle(label, fontsize=12, parse_math=False)
        panels = part.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        words, drawn = kept_words(film), sheets(film, side)
        for step, (panel, sheet) in enumerate(zip(panels, drawn, strict=False)):
            panel.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            panel.set_title(f"step {step + 1}: {words[step]}", fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _covered(
    images: npt.NDArray[np.uint8],
    masked: npt.NDArray[np.bool_],
    tokens: tuple[int, int] | None,
    side: int,
) -> npt.NDArray[np.uint8]:
    """Images [n, H, W, 3] in which masked tokens are covered with stripes.

    Args:
        images: [n, H, W] or [n, H, W, 3].
        masked: [n, L].
        tokens: rows and columns of the tokens; None covers nothing.
        side: the longest that the shorter side may be.
    """
    images = shrunk(images, max(side, LEAST_SIDE))
    times = max(1, math.ceil(LEAST_SIDE / min(images.shape[1:3])))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if tokens is None:
        return images
    height, width = images.shape[1:3]
    rows, columns = np.arange(height), np.arange(width)
    squares = masked.reshape(-1, *tokens)
    covered = squares[:, rows * tokens[0] // height][:, :, columns * tokens[1] // width]
    stripes = STRIPES[(rows[:, None] + columns) // 2 % 2]
    return np.where(covered[..., None], stripes, images)
