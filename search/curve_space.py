"""Spaces of curves: the strategies of a space, described by few numbers a schedule.

In the coordinates "values", a vector holds every free value: 4T - 1 for whole strategies. In
"coarse", it holds only level and slope of each schedule (see search.coordinates): the numbers with
which coarse-to-fine begins. In "curves", it holds the coefficients of all orders. Every optimiser
that searches vectors can so search curves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from search.bound import Bound, Vector
from search.coordinates import COARSE_ORDER, Coordinates
from search.dimensions import Dimension, SearchSpace
from search.reading import shown
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy

CoordinatesName = Literal["values", "coarse", "curves"]
"""The numbers by which a search describes a strategy."""


def described_by(
    coordinates: CoordinatesName, space: SearchSpace, tokens: int | None
) -> SearchSpace:
    """Return the same strategies, described by these coordinates.

    Args:
        coordinates: the name of the coordinates; "values" are those of the space itself.
        space: what is searched.
        tokens: L if it is known: mask ratios of curves then stand for whole tokens.

    Raises:
        ValueError: the name is unknown, or the space is not one of generation strategies.
    """
    if coordinates not in get_args(CoordinatesName):
        raise ValueError(
            f"coordinates: expected {', '.join(get_args(CoordinatesName))}, got "
            f"{shown(coordinates)}"
        )
    if coordinates == "values":
        return space
    if not isinstance(space, Space):
        raise ValueError(
            f"coordinates = {coordinates}: only searches of generation strategies have curves; "
            "expected values"
        )
    return CurveSpace(space, tokens, COARSE_ORDER if coordinates == "coarse" else None)


@dataclass(frozen=True)
class CurveSpace(SearchSpace):
    """The strategies of a space whose schedules are curves.

    A vector holds, for each curve, its coefficients up to the finest order, scaled from
    ± `Coordinates.reach` to [0, 1], and then the searched choices. Finer coefficients are 0.

    Attributes:
        space: the space whose strategies these are.
        tokens: L if it is known: mask ratios then stand for whole tokens.
        finest: the finest order; by default all orders, so that every strategy has a vector.
    """

    space: Space
    tokens: int | None = None
    finest: int | None = None

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """See `SearchSpace.dimensions`."""
        found = self._coordinates
        numbers = [
            Dimension(f"{found.schedules[found.schedule[i]]}_order_{found.order[i]}", Bound(0, 1))
            for i in self._curves
        ]
        choices = (Dimension.choice(*chosen) for chosen in self.space.choices.items())
        return (*numbers, *choices)

    @property
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.starts`; the vector of the start need not stand for it exactly."""
        return self.space.starts

    def starting_at(self, start: GenerationStrategy) -> CurveSpace:
        """Return the same space with another start."""
        return replace(self, space=replace(self.space, start=start))

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        coefficients, curves = np.zeros(len(self._coordinates)), len(self._curves)
        coefficients[self._curves] = (2 * vector[:curves] - 1) * self._reach
        chosen = [
            np.eye(len(values))[round(entry)]
            for entry, values in zip(vector[curves:], self.space.choices.values(), strict=True)
        ]
        coefficients[self._coordinates.is_choice] = np.concatenate([np.empty(0), *chosen])
        return self._coordinates.to_strategy(coefficients), None

    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """Return the vector [D] of the nearest strategy of this space."""
        coefficients = self._coordinates.from_strategy(generation)[self._curves]
        unit = (np.clip(coefficients / self._reach, -1, 1) + 1) / 2
        return np.append(unit, self.space.to_vector(generation)[self.space.free_length :])

    def holds(self, strategy: GenerationStrategy) -> bool:
        """Whether a vector stands for this strategy: whether it equals the nearest one."""
        nearest, _ = self.pair(self.vector_of(strategy, None))
        found = self._coordinates.from_strategy(nearest)
        return np.allclose(found, self._coordinates.from_strategy(strategy), atol=1e-6)

    def to_json(self) -> dict[str, Any]:
        """See `SearchSpace.to_json`."""
        return {"space": self.space.to_json(), "tokens": self.tokens, "finest": self.finest}

    @cached_property
    def _coordinates(self) -> Coordinates:
        return Coordinates(self.space, self.tokens)

    @cached_property
    def _curves(self) -> npt.NDArray[np.int64]:
        return self._coordinates.up_to(self.finest)

    @cached_property
    def _reach(self) -> Vector:
        return self._coordinates.reach()[self._curves]
