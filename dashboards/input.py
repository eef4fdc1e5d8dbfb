"""The input of tables, sentences, figures and the report.

This is all that a dashboard gets of a search. trials.results makes such results from a record; any
other objects with these attributes will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from search.bound import Bound
from search.measurement import AtImages
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

if TYPE_CHECKING:
    import pandas as pd


class Result(Protocol):
    """The result of one method: the winner of a search, or a control that needs no search."""

    @property
    def method(self) -> str:
        """The name of the optimiser or the control."""

    @property
    def label(self) -> str:
        """The method, with the name of its search if several are compared."""

    @property
    def searched(self) -> bool:
        """Whether a search found the strategy."""

    @property
    def strategy(self) -> GenerationStrategy:
        """The winning strategy, or the control."""

    @property
    def begun_with(self) -> str | None:
        """The name of the control that a search's winner is; None for any other winner."""

    @property
    def training(self) -> TrainingStrategy | None:
        """The training strategy of the winner's model; None if the model was given."""

    @property
    def metric(self) -> str:
        """The name of the metric of the final test."""

    @property
    def search_metric(self) -> str:
        """The name of the metric of the values that the search saw."""

    @property
    def value(self) -> float:
        """The mean of the final test over seeds that no search saw; NaN if there is none."""

    @property
    def standard_error(self) -> float | None:
        """The standard error of `value`; None if it is unknown."""

    @property
    def standard_error_from(self) -> str | None:
        """The source of the standard error (see `search.final_test.error_from`)."""

    @property
    def values(self) -> tuple[float, ...]:
        """The value of each seed of the final test."""

    @property
    def test_images(self) -> int:
        """n, the number of images of one evaluation of the final test."""

    @property
    def test_seeds(self) -> tuple[int, ...]:
        """The seeds of the final test."""

    @property
    def spread(self) -> float | None:
        """How much its images differ from each other (see `search.measurement.Measurement`)."""

    @property
    def search_value(self) -> float | None:
        """The value that the search saw; None for a control."""

    @property
    def evaluations(self) -> pd.DataFrame:
        """The evaluations of the search in order of finish; empty for a control.

        It has at least the columns fid (the value), images, forward_passes and state ("COMPLETE",
        "FAIL" or "PRUNED").
        """

    @property
    def bounds(self) -> Mapping[str, Bound]:
        """The range of each schedule that was searched, by name; empty for a control."""

    @property
    def good(self) -> Sequence[GenerationStrategy]:
        """The strategies of the best tenth of the evaluations; empty for a control."""

    @property
    def over_images(self) -> Sequence[AtImages]:
        """The value of the final test at smaller and at infinite n; empty if it is unknown."""

    @property
    def images(self) -> int:
        """The number of images that the search generated; 0 for a control."""

    @property
    def seconds(self) -> float:
        """The duration of the search in seconds."""

    @property
    def forward_passes(self) -> int:
        """The number of forward passes for each image."""

    @property
    def flops(self) -> int | None:
        """Floating-point operations for each image, including its decoding; None if unknown."""

    @property
    def samples(self) -> npt.NDArray[np.uint8] | None:
        """Images of the winner, uint8 [n, H, W] or [n, H, W, 3], or None."""

    @property
    def sample_classes(self) -> Sequence[str]:
        """The classes of the samples, which lie in rows of one image a class; empty if the order of
        the samples means nothing."""

    @property
    def film(self) -> Film | None:
        """How images of the winner form, or None."""


class ClassGrid(Protocol):
    """Images in rows and columns, with one class in each column."""

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """uint8 [rows, columns, H, W] or [rows, columns, H, W, 3]."""

    @property
    def classes(self) -> Sequence[str]:
        """The class of each column; empty where images have no classes."""


class Film(Protocol):
    """How n images form in T steps."""

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """The images after each step, uint8 [T, n, H, W] or [T, n, H, W, 3]."""

    @property
    def masked(self) -> npt.NDArray[np.bool_]:
        """The tokens that are masked after each step, bool [T, n, L]."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the tokens; None if they are not a grid."""

    @property
    def classes(self) -> Sequence[str]:
        """The class of each image; empty where images have no classes."""


class Anchor(Protocol):
    """A reference value that needs no generator, under the protocol of the search."""

    @property
    def name(self) -> str:
        """`search.controls.REAL_IMAGES` or `CONSTANT_IMAGE`."""

    @property
    def label(self) -> str:
        """The name, with the name of the search if several are compared."""

    @property
    def value(self) -> float:
        """The value of the metric."""

    @property
    def images(self) -> int:
        """n, the number of images of which it is the value."""
