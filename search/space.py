"""The space of generation strategies: which numbers and choices are searched, and their ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from search.bound import Bound, Vector
from search.choices import searched_choices
from search.dimensions import Dimension, SearchSpace
from search.schedules import SCHEDULES, STANDARD, schedules_named
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy


@dataclass(frozen=True)
class Space(SearchSpace):
    """All strategies of T steps within bounds; whatever is not searched keeps the start's values.

    A vector lists the free values, schedule by schedule in the order of `SCHEDULES`, then the
    searched choices.

    Attributes:
        start: the strategy that a search starts from, usually the rule of thumb; it fixes T.
        bounds: a `Bound` for each schedule. Standard schedules have default bounds; an added
            schedule is searched only if it has bounds here.
        frozen: the names of schedules that are not searched.
        max_forward_passes: the largest number of forward passes for each image, or None. A strategy
            with more (also the start) loses its smallest guidance scales, of equal ones the
            earlier first.
        choices: the values to try of each searched choice; by default no choice is searched.

    Raises:
        ValueError: a schedule or choice is unknown, nothing is left to search, the start is out of
            bounds, or no strategy of the space has so few forward passes.
    """

    start: GenerationStrategy
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    frozen: Sequence[str] = ()
    max_forward_passes: int | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schedules_named((*self.bounds, *self.frozen))
        own = {name: schedule.bound(self.start.steps) for name, schedule in STANDARD.items()}
        object.__setattr__(self, "bounds", {**own, **self.bounds})
        object.__setattr__(self, "frozen", schedules_named(self.frozen))
        object.__setattr__(self, "choices", searched_choices(self.choices))
        for name, bound in self.bounds.items():
            limit = SCHEDULES[name].below
            if bound.high >= limit:
                raise ValueError(f"{name}: expected an upper bound < {limit:g}, got {bound.high}")
        if not self.free_length and not self.choices:
            raise ValueError("nothing to search: every schedule is frozen or empty")
        if self.max_forward_passes is not None:
            self._check_passes(self.max_forward_passes)
            object.__setattr__(self, "start", self.limited(self.start, self.max_forward_passes))
        for name, values in self.choices.items():
            if self.start.choices()[name] not in values:
                raise ValueError(
                    f"the start's {name} = {self.start.choices()[name]!r} is not among the "
                    f"searched values: {', '.join(values)}"
                )
        start = self.start_vector
        for i in np.flatnonzero((start < self.low) | (start > self.high)):
            raise ValueError(
                f"the start's {self.names[i]} = {start[i]} is outside its "
                f"bounds [{self.low[i]}, {self.high[i]}]"
            )

    def _check_passes(self, limit: int) -> None:
        steps, least = self.start.steps, self.least_forward_passes
        if limit >= least:
            return
        why = f"T = {steps} steps"
        if "guidance_scale" in self.frozen:
            why = "the frozen guidance_scale"
        elif least > steps:
            low = self.bounds["guidance_scale"].low
            why = f"guidance_scale >= {low} at all T = {steps} steps"
        raise ValueError(f"max_forward_passes = {limit}, but {why} needs {least}")

    @property
    def passes_can_fall(self) -> bool:
        """Whether a search may drop the guidance of a step, and with it a forward pass."""
        low = self.bounds["guidance_scale"].low
        return "guidance_scale" in self.free and low <= self.start.guidance_floor

    @property
    def least_forward_passes(self) -> int:
        """The smallest number of forward passes for each image in this space."""
        if self.passes_can_fall:
            return self.start.steps
        frozen = "guidance_scale" in self.frozen
        return self.start.forward_passes() if frozen else 2 * self.start.steps

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The schedules that are searched."""
        return tuple(n for n in SCHEDULES if n in self.bounds and n not in self.frozen)

    @cached_property
    def schedule_of(self) -> tuple[str, ...]:
        """The schedule of each number of a vector."""
        steps = self.start.steps
        return tuple(name for name in self.free for _ in range(SCHEDULES[name].length(steps)))

    @property
    def free_length(self) -> int:
        """How many numbers a vector has before its choices."""
        return len(self.schedule_of)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """See `SearchSpace.dimensions`."""
        steps = self.start.steps
        numbers = [
            Dimension(f"{name}_{i}", self.bounds[name])
            for name in self.free
            for i in range(SCHEDULES[name].length(steps))
        ]
        return (*numbers, *(Dimension.choice(*chosen) for chosen in self.choices.items()))

    @property
    def starts(self) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.starts`."""
        return self.start, None

    def extras(self) -> dict[str, str]:
        """The union of `GenerationStrategy.extras` over all strategies that a search may try."""
        added = {name: f"a schedule {name}" for name in self.free if name not in STANDARD}
        searched = {n: f"{n} = {' or '.join(values)}" for n, values in self.choices.items()}
        return self.start.extras() | added | searched

    def to_vector(self, strategy: GenerationStrategy) -> Vector:
        """Return the vector [D] of a strategy of this T.

        If the strategy's value of a searched choice is not among those searched, the start's value
        is used.
        """
        numbers = [value for name in self.free for value in strategy.schedule(name)]
        chosen = strategy.choices()
        for name, values in self.choices.items():
            value = chosen[name] if chosen[name] in values else self.start.choices()[name]
            numbers.append(values.index(value))
        return np.array(numbers, dtype=np.float64)

    def from_vector(self, vector: Sequence[float] | Vector) -> GenerationStrategy:
        """Return the strategy with these free values [D]; the others are those of the start.

        Raises:
            ValueError: the vector has a wrong length, or a value is not legal.
        """
        if len(vector) != len(self.names):
            raise ValueError(
                f"expected a vector of {len(self.names)} free values, got {len(vector)}"
            )
        values: list[float] = np.asarray(vector, dtype=np.float64).tolist()
        schedules: dict[str, list[float]] = {name: [] for name in self.free}
        for name, value in zip(self.schedule_of, values, strict=False):
            schedules[name].append(value)
        searched = self.dimensions[self.free_length :]
        entries = zip(searched, values[self.free_length :], strict=True)
        chosen = {dimension.name: str(dimension.value(entry)) for dimension, entry in entries}
        found = self.start.with_values(schedules, chosen)
        limit = self.max_forward_passes
        return found if limit is None else self.limited(found, limit)

    def limited(self, strategy: GenerationStrategy, limit: int) -> GenerationStrategy:
        """Return the strategy with at most that many forward passes, within the bounds."""
        unguided = max(0.0, self.bounds["guidance_scale"].low) if self.passes_can_fall else 0.0
        return strategy.with_passes(limit, unguided)

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        return self.from_vector(vector), None

    def vector_of(
        self, generation: GenerationStrategy, training: TrainingStrategy | None
    ) -> Vector:
        """See `SearchSpace.vector_of`."""
        return self.to_vector(generation)

    def to_json(self) -> dict[str, Any]:
        """See `SearchSpace.to_json`; limits and choices appear only if they are set."""
        content: dict[str, Any] = {
            "start": self.start.to_json(),
            "bounds": {name: bound.to_json() for name, bound in self.bounds.items()},
            "frozen": list(self.frozen),
        }
        if self.max_forward_passes is not None:
            content["max_forward_passes"] = self.max_forward_passes
        if self.choices:
            content["choices"] = {name: list(values) for name, values in self.choices.items()}
        return content

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """Make a space from a JSON object: the inverse of `to_json`."""
        return cls(
            GenerationStrategy.from_json(data["start"]),
            {name: Bound(b["low"], b["high"], b["log"]) for name, b in data["bounds"].items()},
            data.get("frozen", ()),
            data.get("max_forward_passes"),
            data.get("choices", {}),
        )
