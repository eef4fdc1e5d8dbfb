"""The space of training strategies, and that of training and generation strategies together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from search.bound import Bound, Vector, from_unit, to_unit
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy, distribution


@dataclass(frozen=True)
class TrainingSpace:
    """All parameters of a distribution of mask ratios within bounds.

    Attributes:
        start: where a search starts; it names the distribution.
        generation: the generation strategy that every candidate is measured with.
        bounds: by parameter; those left out take the distribution's own.

    Raises:
        ValueError: a distribution without parameters, a bound of none of them, one that reaches
            where no strategy is, or a start outside.
    """

    start: TrainingStrategy
    generation: GenerationStrategy
    bounds: Mapping[str, Bound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.start.mask_ratio_distribution
        known = distribution(name)
        if not known.parameters:
            raise ValueError(f"the {name} distribution has no parameters: nothing to search")
        for parameter, bound in self.bounds.items():
            if parameter not in known.parameters:
                has = ", ".join(known.parameters)
                raise ValueError(f"the {name} distribution has no {parameter}; it has: {has}")
            for end in (bound.low, bound.high):
                known.check(f"the bound of {parameter}", end, known.parameters[parameter])
        object.__setattr__(self, "bounds", {**known.parameters, **self.bounds})
        for parameter, bound in self.bounds.items():
            value = self.start.values[parameter]
            if not bound.low <= value <= bound.high:
                raise ValueError(
                    f"the start's {parameter} = {value} is outside its bounds "
                    f"[{bound.low}, {bound.high}]"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters; [D]."""
        return tuple(self.start.values)

    @property
    def low(self) -> Vector:
        """Lower bounds; [D]."""
        return np.array([self.bounds[name].low for name in self.names])

    @property
    def high(self) -> Vector:
        """Upper bounds; [D]."""
        return np.array([self.bounds[name].high for name in self.names])

    @property
    def log(self) -> npt.NDArray[np.bool_]:
        """Which have a logarithmic scale; [D]."""
        return np.array([self.bounds[name].log for name in self.names])

    @property
    def start_vector(self) -> Vector:
        """The start's values; [D]."""
        return np.array([self.start.values[name] for name in self.names])

    def from_vector(self, vector: Vector) -> TrainingStrategy:
        """The strategy with these values [D]."""
        values = dict(zip(self.names, map(float, vector), strict=True))
        return TrainingStrategy(self.start.mask_ratio_distribution, values)

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        return self.generation, self.from_vector(vector)

    def to_unit(self, vector: Vector) -> Vector:
        """Natural units to [0, 1] along each value's scale; [D]."""
        return to_unit(vector, self.low, self.high, self.log)

    def from_unit(self, unit: Vector) -> Vector:
        """[0, 1] to natural units, clipped to the bounds; [D]."""
        return from_unit(unit, self.low, self.high, self.log)

    def to_json(self) -> dict[str, Any]:
        """What identifies the space."""
        bounds = {n: {"low": b.low, "high": b.high, "log": b.log} for n, b in self.bounds.items()}
        return {
            "start": self.start.to_json(),
            "generation": self.generation.to_json(),
            "bounds": bounds,
        }


@dataclass(frozen=True)
class JointSpace:
    """Training and generation strategies at once: the values of both, training first."""

    training: TrainingSpace
    generation: Space

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters; [D]."""
        return (*self.training.names, *self.generation.names)

    @property
    def low(self) -> Vector:
        """Lower bounds; [D]."""
        return np.concatenate([self.training.low, self.generation.low])

    @property
    def high(self) -> Vector:
        """Upper bounds; [D]."""
        return np.concatenate([self.training.high, self.generation.high])

    @property
    def log(self) -> npt.NDArray[np.bool_]:
        """Which have a logarithmic scale; [D]."""
        return np.concatenate([self.training.log, self.generation.log])

    @property
    def start_vector(self) -> Vector:
        """The starts' values; [D]."""
        return np.concatenate([self.training.start_vector, self.generation.start_vector])

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        values, count = np.asarray(vector), len(self.training.names)
        training = self.training.from_vector(values[:count])
        return self.generation.from_vector(values[count:]), training

    def to_json(self) -> dict[str, Any]:
        """What identifies the space."""
        return {"training": self.training.to_json(), "generation": self.generation.to_json()}
