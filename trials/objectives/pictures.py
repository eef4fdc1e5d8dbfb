"""Pictures that an objective can show of what it generates, and how it is asked for them.

The methods are optional. An objective that has none of them is searched without pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from search.strategy import GenerationStrategy


@dataclass(frozen=True)
class ClassGrid:
    """Images in rows and columns, with one class in each column.

    Attributes:
        images: uint8 [rows, columns, H, W] or [rows, columns, H, W, 3].
        classes: the name of each column's class or text; empty where images have no classes.
    """

    images: npt.NDArray[np.uint8]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Film:
    """How images form in T steps.

    Attributes:
        frames: uint8 [T, n, H, W] or [T, n, H, W, 3], the images after each step. What is still
            masked shows the token that the step sampled there.
        masked: bool [T, n, L], the tokens that are masked after each step.
        grid: rows and columns (h, w) of the tokens with h * w = L; None if they are not a grid.
        classes: the class or text of each image; empty where images have no classes.
    """

    frames: npt.NDArray[np.uint8]
    masked: npt.NDArray[np.bool_]
    grid: tuple[int, int] | None
    classes: tuple[str, ...] = ()


@runtime_checkable
class Samples(Protocol):
    """An objective that can show its images."""

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """The uint8 images [n, H, W] or [n, H, W, 3] that `evaluate` measures with that seed."""


@runtime_checkable
class ShowsClasses(Protocol):
    """An objective that can show images of classes that are chosen for it."""

    def class_grid(
        self, strategy: GenerationStrategy, columns: int, rows: int, seed: int
    ) -> ClassGrid:
        """Images of as many classes as there are columns, or of all if there are fewer.

        Another strategy gets the same classes and the same noise.
        """


@runtime_checkable
class ShowsRealImages(Protocol):
    """An objective that can show the real images that it learnt from."""

    def real_grid(self, columns: int, rows: int) -> ClassGrid | None:
        """Real images of the classes of `class_grid`, in at most so many rows; None if there are
        none."""


@runtime_checkable
class Films(Protocol):
    """An objective that can show how its images form."""

    def film(self, strategy: GenerationStrategy, images: int, seed: int) -> Film:
        """The first row of `class_grid`, with `images` columns, after each of the T steps."""
