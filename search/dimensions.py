"""The base of every space of strategies: a list of dimensions, and all that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from search.bound import Bound, Vector, from_unit, to_unit
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Dimension:
    """One entry of a vector: a number within a range, or a choice.

    Attributes:
        name: the name of the entry, as in Optuna and MLflow.
        range: the range of the number.
        values: the values of the choice; the entry of a vector is the index of one of them. Empty
            for a number.
    """

    name: str
    range: Bound
    values: tuple[str, ...] = ()

    @classmethod
    def choice(cls, name: str, values: tuple[str, ...]) -> Dimension:
        """Make the dimension of a choice between two or more values."""
        return cls(name, Bound(0.0, len(values) - 1.0), values)

    def value(self, entry: float) -> float | str:
        """Return the value that an entry of a vector stands for."""
        return self.values[round(entry)] if self.values else float(entry)

    def entry(self, value: Any) -> float:
        """Return the entry of a vector that stands for a value: the inverse of `value`."""
        return float(self.values.index(value)) if self.values else float(value)


class SearchSpace(ABC):
    """All strategies that a search may try.

    A vector [D] has an entry for each dimension, in natural units; `to_unit` maps it to [0, 1]^D
    along the scale of each dimension.
    """

    @property
    @abstractmethod
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimension of each entry of a vector; [D]."""

    @property
    @abstractmethod
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """The strategies that a search starts from; no training strategy if the model is given."""

    @abstractmethod
    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """Return the strategies that a vector [D] stands for."""

    @abstractmethod
    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """Return the vector [D] of strategies of this space: the inverse of `pair`."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what identifies the space: equal values mean that the same space was searched."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the entries; [D]."""
        return tuple(dimension.name for dimension in self.dimensions)

    @cached_property
    def low(self) -> Vector:
        """Lower bounds; [D]."""
        return _read_only([dimension.range.low for dimension in self.dimensions])

    @cached_property
    def high(self) -> Vector:
        """Upper bounds; [D]."""
        return _read_only([dimension.range.high for dimension in self.dimensions])

    @cached_property
    def log(self) -> Mask:
        """Which entries have a logarithmic scale; [D]."""
        found = np.array([dimension.range.log for dimension in self.dimensions], dtype=np.bool_)
        found.flags.writeable = False
        return found

    @property
    def start_vector(self) -> Vector:
        """The vector that a search starts from; [D]."""
        return self.vector_of(*self.starts)

    def to_unit(self, vector: Vector) -> Vector:
        """Map a vector [D] from natural units to [0, 1], along the scale of each entry."""
        return to_unit(vector, self.low, self.high, self.log)

    def from_unit(self, unit: Vector) -> Vector:
        """Map a vector [D] from [0, 1] to natural units, clipped to the bounds."""
        return from_unit(unit, self.low, self.high, self.log)

    def values_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> dict[str, float | str]:
        """Return the searched values of strategies of this space, by name."""
        vector = self.vector_of(generation, training)
        return {d.name: d.value(v) for d, v in zip(self.dimensions, vector, strict=True)}


def _read_only(values: Any) -> Vector:
    """Make a read-only array, because cached properties are shared by many readers."""
    found = np.array(values, dtype=np.float64)
    found.flags.writeable = False
    return found
