"""The space of generation strategies: strategy <-> vector, bounds, scales, frozen schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from search.bound import Bound, Vector, from_unit, to_unit
from search.strategy import SCHEDULES, GenerationStrategy
from search.training_strategy import TrainingStrategy


class SearchSpace(Protocol):
    """What a sampler needs to know of what is searched: D values by name, each in a range."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the values; [D]."""

    @property
    def low(self) -> Vector:
        """Lower bounds; [D]."""

    @property
    def high(self) -> Vector:
        """Upper bounds; [D]."""

    @property
    def log(self) -> npt.NDArray[np.bool_]:
        """Which have a logarithmic scale; [D]."""

    @property
    def start_vector(self) -> Vector:
        """Where a search starts; [D]."""

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """What the values [D] stand for; no training strategy where the model is given."""

    def to_json(self) -> dict[str, Any]:
        """What identifies the space: two studies with equal values searched the same thing."""


DEFAULT_BOUNDS: Mapping[str, Bound] = {
    "mask_ratio": Bound(0.0, 1 - 1e-6),
    # A ratio of scales, and good schedules reach far above the rule of thumb's 1: hence log.
    "remask_temperature": Bound(0.01, 30.0, log=True),
    "sampling_temperature": Bound(0.2, 4.0, log=True),
    "guidance_scale": Bound(0.0, 4.0),
}


def default_bounds(steps: int) -> dict[str, Bound]:
    """DEFAULT_BOUNDS, wider where T is so large that the rule of thumb, whose lowest remask
    temperature is 2/T and whose highest mask ratio about 1 - 1.23/T**2, would lie outside."""
    ratio, remask = DEFAULT_BOUNDS["mask_ratio"], DEFAULT_BOUNDS["remask_temperature"]
    wider = {
        "mask_ratio": replace(ratio, high=max(ratio.high, 1 - 1 / steps**2)),
        "remask_temperature": remask if steps <= 200 else replace(remask, low=1 / steps),
    }
    return {**DEFAULT_BOUNDS, **wider}


@dataclass(frozen=True)
class Space:
    """All strategies of T steps within bounds; frozen schedules keep the start's values.

    A vector lists the free values, schedule by schedule in the order of `SCHEDULES`, in natural
    units; `to_unit` maps it to [0, 1]^D along each schedule's scale.

    Attributes:
        start: where a search starts (the rule of thumb, mostly); it fixes T.
        bounds: one `Bound` a schedule; schedules left out take `default_bounds`.
        frozen: names of schedules that are not searched.
        max_forward_passes: an image, or None. A strategy with more loses its smallest guidance
            scales, the earlier of equals first; so does the start.

    Raises:
        ValueError: an unknown schedule, nothing left to search, a start outside the bounds, or
            fewer forward passes than any strategy of the space has.
    """

    start: GenerationStrategy
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    frozen: Sequence[str] = ()
    max_forward_passes: int | None = None

    def __post_init__(self) -> None:
        for name in (*self.bounds, *self.frozen):
            if name not in SCHEDULES:
                raise ValueError(f"unknown schedule {name!r}; known: {', '.join(SCHEDULES)}")
        object.__setattr__(self, "bounds", {**default_bounds(self.start.steps), **self.bounds})
        object.__setattr__(self, "frozen", tuple(s for s in SCHEDULES if s in self.frozen))
        if self.bounds["mask_ratio"].high >= 1:
            raise ValueError(f"mask_ratio: the bound {self.bounds['mask_ratio'].high} is not < 1")
        if not self.names:
            raise ValueError("nothing to search: every schedule is frozen or empty")
        self._check_passes()
        if self.max_forward_passes is not None:
            start = with_passes(self.start, self.max_forward_passes)
            object.__setattr__(self, "start", start)
        outside = (self.to_vector(self.start) < self.low) | (self.to_vector(self.start) > self.high)
        for i in np.flatnonzero(outside):
            raise ValueError(
                f"the start's {self.names[i]} = {self.to_vector(self.start)[i]} is outside its "
                f"bounds [{self.low[i]}, {self.high[i]}]"
            )

    def _check_passes(self) -> None:
        limit, steps = self.max_forward_passes, self.start.steps
        if limit is None:
            return
        least, why = steps, f"T = {steps} steps"
        if "guidance_scale" in self.frozen:
            least, why = self.start.forward_passes(), "the frozen guidance_scale"
        elif self.bounds["guidance_scale"].low > self.start.guidance_floor:
            low = self.bounds["guidance_scale"].low
            least, why = 2 * steps, f"guidance_scale >= {low} at all T = {steps} steps"
        if limit < least:
            raise ValueError(f"max_forward_passes = {limit}, but {why} needs {least}")

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The schedules that are searched."""
        return tuple(name for name in SCHEDULES if name not in self.frozen)

    @property
    def schedule_of(self) -> tuple[str, ...]:
        """For each entry of a vector, its schedule; [D]."""
        return tuple(name for name in self.free for _ in getattr(self.start, name))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """For each entry of a vector, its parameter name; [D]."""
        return tuple(p for p in self.start.parameters() if p.rpartition("_")[0] in self.free)

    @property
    def low(self) -> Vector:
        """Lower bounds; [D]."""
        return np.array([self.bounds[name].low for name in self.schedule_of])

    @property
    def high(self) -> Vector:
        """Upper bounds; [D]."""
        return np.array([self.bounds[name].high for name in self.schedule_of])

    @property
    def log(self) -> npt.NDArray[np.bool_]:
        """Which entries have a logarithmic scale; [D]."""
        return np.array([self.bounds[name].log for name in self.schedule_of])

    def to_vector(self, strategy: GenerationStrategy) -> Vector:
        """The free values of a strategy of this T; [D]."""
        return np.array([value for name in self.free for value in getattr(strategy, name)])

    def from_vector(self, vector: Sequence[float] | Vector) -> GenerationStrategy:
        """The strategy with these free values [D] and the start's frozen ones.

        Raises:
            ValueError: a wrong length, or values that no strategy may have.
        """
        if len(vector) != len(self.names):
            raise ValueError(f"a vector of {len(vector)} values, but {len(self.names)} are free")
        values = iter(np.asarray(vector, dtype=np.float64))
        schedules = {
            name: getattr(self.start, name)
            if name in self.frozen
            else tuple(float(next(values)) for _ in getattr(self.start, name))
            for name in SCHEDULES
        }
        found = GenerationStrategy(**schedules, guidance_floor=self.start.guidance_floor)
        limit = self.max_forward_passes
        return found if limit is None else with_passes(found, limit)

    @property
    def start_vector(self) -> Vector:
        """The start's free values; [D]."""
        return self.to_vector(self.start)

    def pair(self, vector: Vector) -> tuple[GenerationStrategy, TrainingStrategy | None]:
        """See `SearchSpace.pair`."""
        return self.from_vector(vector), None

    def to_unit(self, vector: Vector) -> Vector:
        """Natural units to [0, 1] along each entry's scale; [D]."""
        return to_unit(vector, self.low, self.high, self.log)

    def from_unit(self, unit: Vector) -> Vector:
        """[0, 1] to natural units, clipped to the bounds; [D]."""
        return from_unit(unit, self.low, self.high, self.log)

    def to_json(self) -> dict[str, Any]:
        """What identifies the space: two studies with equal values searched the same thing."""
        return {
            "start": self.start.to_json(),
            "bounds": {
                s: {"low": b.low, "high": b.high, "log": b.log} for s, b in self.bounds.items()
            },
            "frozen": list(self.frozen),
            **(
                {}
                if self.max_forward_passes is None
                else {"max_forward_passes": self.max_forward_passes}
            ),
        }


def with_passes(strategy: GenerationStrategy, limit: int) -> GenerationStrategy:
    """The strategy with at most that many forward passes: its smallest guidance scales become 0,
    the earlier of equals first. T passes always stay."""
    excess = max(0, strategy.forward_passes() - max(limit, strategy.steps))
    guided = [t for t in range(strategy.steps) if strategy.guided[t]]
    dropped = sorted(guided, key=lambda t: strategy.guidance_scale[t])[:excess]
    if not dropped:
        return strategy
    scales = tuple(0.0 if t in dropped else s for t, s in enumerate(strategy.guidance_scale))
    return replace(strategy, guidance_scale=scales)
