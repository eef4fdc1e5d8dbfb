"""What every space of strategies is: a list of dimensions, and what follows from them."""

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
        name: of the entry, as in Optuna and MLflow.
        range: of the number.
        values: of the choice; its entry of a vector is the place of one of them, 0 for the first.
            Empty for a number.
    """

    name: str
    range: Bound
    values: tuple[str, ...] = ()

    @classmethod
    def choice(cls, name: str, values: tuple[str, ...]) -> Dimension:
        """One of two values or more."""
        return cls(name, Bound(0.0, len(values) - 1.0), values)

    def value(self, entry: float) -> float | str:
        """What an entry of a vector stands for."""
        return self.values[round(entry)] if self.values else float(entry)

    def entry(self, value: Any) -> float:
        """The inverse of `value`."""
        return float(self.values.index(value)) if self.values else float(value)


class SearchSpace(ABC):
    """All strategies that a search may try. A vector [D] has an entry for each dimension, in
    natural units; `to_unit` maps it to [0, 1]^D along the scale of each."""

    @property
    @abstractmethod
    def dimensions(self) -> tuple[Dimension, ...]:
        """What each entry of a vector is; [D]."""

    @property
    @abstractmethod
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """Where a search starts; no training strategy where the model is given."""

    @abstractmethod
    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """What a vector [D] stands for."""

    @abstractmethod
    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """The vector [D] of strategies that the space holds: the inverse of `pair`."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What identifies the space: two studies with equal values searched the same thing."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the entries; [D]."""
        return tuple(dimension.name for dimension in self.dimensions)

    @cached_property
    def low(self) -> Vector:
        """Lower bounds; [D]."""
        return _fixed([dimension.range.low for dimension in self.dimensions])

    @cached_property
    def high(self) -> Vector:
        """Upper bounds; [D]."""
        return _fixed([dimension.range.high for dimension in self.dimensions])

    @cached_property
    def log(self) -> Mask:
        """Which entries have a logarithmic scale; [D]."""
        found = np.array([dimension.range.log for dimension in self.dimensions], dtype=np.bool_)
        found.flags.writeable = False
        return found

    @property
    def start_vector(self) -> Vector:
        """Where a search starts; [D]."""
        return self.vector_of(*self.starts)

    def to_unit(self, vector: Vector) -> Vector:
        """Natural units to [0, 1] along each entry's scale; [D]."""
        return to_unit(vector, self.low, self.high, self.log)

    def from_unit(self, unit: Vector) -> Vector:
        """[0, 1] to natural units, clipped to the bounds; [D]."""
        return from_unit(unit, self.low, self.high, self.log)

    def values_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> dict[str, float | str]:
        """The searched values of strategies that the space holds, by name."""
        vector = self.vector_of(generation, training)
        return {d.name: d.value(v) for d, v in zip(self.dimensions, vector, strict=True)}


def _fixed(values: Any) -> Vector:
    """An array that many look at and nobody may change."""
    found = np.array(values, dtype=np.float64)
    found.flags.writeable = False
    return found
