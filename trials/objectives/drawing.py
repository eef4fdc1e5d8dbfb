"""Asks objectives for pictures, and checks what they return: a user's own may return anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from search.final_test import require_images
from search.reading import shown
from search.strategy import GenerationStrategy
from trials.objectives.objective import require_heeded
from trials.objectives.pictures import (
    ClassGrid,
    Film,
    Films,
    Samples,
    ShowsClasses,
    ShowsRealImages,
)


def sampled(
    objective: Samples, strategy: GenerationStrategy, images: int, seed: int
) -> npt.NDArray[np.uint8]:
    """Call an objective's `sample`, and check that it returns images.

    Raises:
        ValueError: the number of images is not a whole one above 0, it returns something else, or
            cannot measure the strategy.
    """
    require_images(images)
    require_heeded(objective, strategy.extras())
    found = objective.sample(strategy, images, seed)
    return _images("sample: expected a numpy array", found, "n")


def class_grid_of(
    objective: ShowsClasses, strategy: GenerationStrategy, columns: int, rows: int, seed: int
) -> ClassGrid:
    """Call an objective's `class_grid`, and check that it returns images in columns.

    Raises:
        ValueError: it returns something else, or cannot measure the strategy.
    """
    require_heeded(objective, strategy.extras())
    return _checked_grid("class_grid", objective.class_grid(strategy, columns, rows, seed))


def real_grid_of(objective: ShowsRealImages, columns: int, rows: int) -> ClassGrid | None:
    """Call an objective's `real_grid`, and check that it returns images in columns, or None.

    Raises:
        ValueError: it returns something else.
    """
    found = objective.real_grid(columns, rows)
    return None if found is None else _checked_grid("real_grid", found)


def film_of(objective: Films, strategy: GenerationStrategy, images: int, seed: int) -> Film:
    """Call an objective's `film`, and check that it returns one with a frame for each step.

    Raises:
        ValueError: it returns something else, or cannot measure the strategy.
    """
    require_heeded(objective, strategy.extras())
    found = objective.film(strategy, images, seed)
    if not isinstance(found, Film):
        raise ValueError(f"film: expected a Film, got {shown(found)}")
    frames = _images("film: expected frames", found.frames, "T", "n")
    if len(frames) != strategy.steps:
        raise ValueError(
            f"film: expected a frame for each of {strategy.steps} steps, got {len(frames)}"
        )
    masked, first = found.masked, frames.shape[:2]
    fits = isinstance(masked, np.ndarray) and masked.ndim == 3 and masked.dtype == np.bool_
    if not fits or masked.shape[:2] != first:
        raise ValueError(
            f"film: expected masked as bool {[*first]} with the tokens last, got {_kind(masked)}"
        )
    if found.grid is not None and found.grid[0] * found.grid[1] != masked.shape[2]:
        raise ValueError(
            f"film: expected a grid (h, w) of {masked.shape[2]} tokens, got {shown(found.grid)}"
        )
    return found


def _checked_grid(what: str, found: Any) -> ClassGrid:
    if not isinstance(found, ClassGrid):
        raise ValueError(f"{what}: expected a ClassGrid, got {shown(found)}")
    images = _images(f"{what}: expected images", found.images, "rows", "columns")
    if len(found.classes) not in (0, images.shape[1]):
        raise ValueError(
            f"{what}: expected a class for each of {images.shape[1]} columns, got "
            f"{len(found.classes)}"
        )
    return found


def _images(expected: str, found: Any, *before: str) -> npt.NDArray[np.uint8]:
    """Check that something is an array of images.

    Args:
        expected: the start of the error.
        found: what should be uint8 [*before, H, W] or [*before, H, W, 3].
        before: the names of the axes before those of an image.
    """
    if isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.size:
        axes = found.ndim - len(before)
        if axes == 2 or (axes == 3 and found.shape[-1] == 3):
            return found
    names = ", ".join(before)
    raise ValueError(f"{expected} uint8 [{names}, H, W] or [{names}, H, W, 3], got {_kind(found)}")


def _kind(found: Any) -> str:
    if isinstance(found, np.ndarray):
        return f"{found.dtype} {list(found.shape)}"
    return type(found).__name__
