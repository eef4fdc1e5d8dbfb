"""The space of training strategies, and the joint space of training and generation strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from search.bound import Bound, Vector
from search.dimensions import Dimension, SearchSpace
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy, distribution


@dataclass(frozen=True)
class TrainingSpace(SearchSpace):
    """All parameters of a mask ratio distribution within bounds.

    Attributes:
        start: the strategy that a search starts from; it names the distribution.
        generation: the generation strategy that every candidate is measured with.
        bounds: the bounds by parameter; by default those of the distribution.

    Raises:
        ValueError: the distribution has no parameters, a bound is of an unknown parameter or
            includes values that are not legal, or the start is out of bounds.
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

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """One dimension for each parameter."""
        return tuple(Dimension(name, self.bounds[name]) for name in self.start.values)

    @property
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.starts`."""
        return self.generation, self.start

    def from_vector(self, vector: Vector) -> TrainingStrategy:
        """Return the training strategy with these values [D]."""
        values = dict(zip(self.names, map(float, vector), strict=True))
        return TrainingStrategy(self.start.mask_ratio_distribution, values)

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        return self.generation, self.from_vector(vector)

    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """See `SearchSpace.vector_of`."""
        values = (training or self.start).values
        return np.array([values[name] for name in self.names])

    def to_json(self) -> dict[str, Any]:
        """See `SearchSpace.to_json`."""
        return {
            "start": self.start.to_json(),
            "generation": self.generation.to_json(),
            "bounds": {name: bound.to_json() for name, bound in self.bounds.items()},
        }


@dataclass(frozen=True)
class JointSpace(SearchSpace):
    """The joint space of training and generation strategies.

    A vector lists the values of the training strategy, then those of the generation strategy.
    """

    training: TrainingSpace
    generation: Space

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of the training space, then those of the generation space."""
        return (*self.training.dimensions, *self.generation.dimensions)

    @property
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.starts`."""
        return self.generation.start, self.training.start

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        values, count = np.asarray(vector), len(self.training.names)
        training = self.training.from_vector(values[:count])
        return self.generation.from_vector(values[count:]), training

    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """See `SearchSpace.vector_of`."""
        trained = self.training.vector_of(generation, training)
        return np.concatenate([trained, self.generation.to_vector(generation)])

    def to_json(self) -> dict[str, Any]:
        """See `SearchSpace.to_json`."""
        return {"training": self.training.to_json(), "generation": self.generation.to_json()}
