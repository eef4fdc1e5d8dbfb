"""Sensitivity: how much the metric changes if one value of a strategy is moved.

It is read off a Gaussian process, the model of coarse-to-fine (see search.gaussian_process), which
is fitted to all evaluations of a search. Nothing is measured for it. How well the model predicts
evaluations that it has not seen says how far it can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from search.bound import Vector, from_unit, to_unit
from search.coordinates import Coordinates
from search.gaussian_process import Data, GaussianProcess, fit
from search.optimiser import Evaluated
from search.schedules import SCHEDULES
from search.space import Space
from search.strategy import GenerationStrategy
from search.value_scale import ValueScale, scaled

MOVE = 0.1
"""The share of its searched range, on the scale of the search, by which a value is moved."""
SMALLEST_MOVE = 0.01
"""The share of the range below which a value counts as one that cannot be moved any further."""
MOST_POINTS, FIT_ITERATIONS = 300, 60
"""The model sees the lowest and the latest evaluations, because its cost is cubic."""
FEWEST, FEWEST_PER_COEFFICIENT = 20, 1.5
"""The fewest evaluations, and how many for each coefficient of the model's curves."""
LEAST_EXPLAINED = 0.5
"""The share of the variance that a model must explain to be shown."""


@dataclass(frozen=True)
class Change:
    """The expected effect of moving one value of a strategy.

    Attributes:
        before: the value of the schedule in the strategy.
        after: the value to which it is moved.
        change: the expected change of the metric.
        low: `change`, if it is lower by one standard deviation of the model.
        high: `change`, if it is higher by one standard deviation of the model.
    """

    before: float
    after: float
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity of a strategy.

    Attributes:
        raised: for each searched schedule, the effect of raising each of its values by MOVE; None
            where it is at its bound. Mask ratios stay between their neighbours.
        lowered: the same for lowering them.
        explained: the share of the variance of the values that the model predicts for evaluations
            that are left out one at a time, at most 1.
        evaluations: how many evaluations the model was fitted to.
    """

    raised: Mapping[str, tuple[Change | None, ...]]
    lowered: Mapping[str, tuple[Change | None, ...]]
    explained: float
    evaluations: int


def sensitivity(
    space: Space, tokens: int, evaluated: Sequence[Evaluated], strategy: GenerationStrategy
) -> Sensitivity:
    """Fit the model to evaluations, and read off how a strategy depends on each of its values.

    Args:
        space: the space that was searched.
        tokens: L.
        evaluated: evaluations of one n, in the order in which they finished.
        strategy: the strategy of this space to examine.

    Raises:
        ValueError: there are too few evaluations, or the model does not predict them; the line says
            which.
    """
    coordinates = Coordinates(space, tokens)
    finite = [one for one in evaluated if np.isfinite(one.value)]
    needed = max(FEWEST, round(FEWEST_PER_COEFFICIENT * len(coordinates)))
    if not coordinates.schedules:
        raise ValueError("no schedule was searched")
    if len(finite) < needed:
        raise ValueError(
            f"a model of {len(coordinates)} coefficients needs {needed} evaluations with the same "
            f"n, and there are {len(finite)}"
        )
    scale, chosen, y = scaled(np.array([one.value for one in finite]), MOST_POINTS)
    points = [finite[i] for i in chosen]
    x = np.stack([coordinates.from_strategy(one.strategy) for one in points])
    data = Data(x, y, np.array([one.seed for one in points], dtype=np.int64))
    groups = coordinates.length_groups()
    with threadpool_limits(1):
        model = GaussianProcess(data, groups, fit(data, groups, None, FIT_ITERATIONS))
        explained = 1 - float(np.mean(model.left_out() ** 2))
        if not explained >= LEAST_EXPLAINED:
            raise ValueError(
                f"a model fitted to {len(points)} evaluations explains only "
                f"{max(0.0, explained):.0%} of the variance of those that it has not seen"
            )
        seen = _Seen(space, coordinates, model, scale, strategy)
        raised, lowered = (
            {name: seen.changes(name, move) for name in coordinates.schedules}
            for move in (MOVE, -MOVE)
        )
    return Sensitivity(raised, lowered, explained, len(points))


@dataclass(frozen=True)
class _Seen:
    """A strategy as the model sees it."""

    space: Space
    coordinates: Coordinates
    model: GaussianProcess
    scale: ValueScale
    strategy: GenerationStrategy

    def changes(self, name: str, move: float) -> tuple[Change | None, ...]:
        """The effects of moving each value of a schedule on its own."""
        count = len(self.strategy.schedule(name))
        return tuple(self._change(name, place, move) for place in range(count))

    def _change(self, name: str, place: int, move: float) -> Change | None:
        values = list(self.strategy.schedule(name))
        before, after = values[place], self._moved(name, values, place, move)
        if after is None:
            return None
        values[place] = after
        there, here = (
            self.coordinates.from_strategy(strategy)
            for strategy in (self.strategy.with_values({name: values}), self.strategy)
        )
        level = float(self.model.predict(here[None])[0][0])
        mean, deviation = self.model.difference(there, here)
        change, low, high = (
            self.scale.to_value(level + d) - self.scale.to_value(level)
            for d in (mean, mean - deviation, mean + deviation)
        )
        return Change(before, after, change, low, high)

    def _moved(self, name: str, values: list[float], place: int, move: float) -> float | None:
        """The moved value, or None where there is no room."""
        bound = self.space.bounds[name]
        low, high, log = np.array([bound.low]), np.array([bound.high]), np.array([bound.log])
        here = to_unit(np.clip([values[place]], bound.low, bound.high), low, high, log)
        after = float(from_unit(here + move, low, high, log)[0])
        if SCHEDULES[name].masks:
            above = values[place - 1] if place else bound.high
            below = values[place + 1] if place + 1 < len(values) else bound.low
            after = min(max(after, min(below, values[place])), max(above, values[place]))
        there: Vector = to_unit(np.array([after]), low, high, log)
        return after if abs(float((there - here)[0])) >= SMALLEST_MOVE else None
