"""Schedules as curves: converts strategies to cosine coefficients, smoothest first, and back.

Every schedule is first mapped to [-1, 1] over its range. Mask ratios become, on a log scale, the
share of the tokens that each step settles, so that they fall by construction; the other schedules
follow the scale of their bound. The values over the steps are then a sum of cosines: order 0 is the
level, order 1 the slope, order 2 the bend and so on. Levels and slopes alone describe a strategy
with seven numbers; with all orders nothing is lost.

A searched choice adds a coordinate for each of its values: 1 for the chosen one, 0 for the others.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from search.bound import Vector
from search.gradient import DIFFERENTIABLE, LOGARITHMIC
from search.schedules import SCHEDULES
from search.space import Space
from search.strategy import GenerationStrategy

LOWEST_SHARE = 1e-3
"""The smallest share of tokens of a step in the coordinates; decoding settles at least one token
at every step anyway."""
LOG_SHARE_RANGE = 2.5
COARSE_ORDER = 1
"""The highest coarse order: levels and slopes, which describe a strategy with seven numbers."""


class Coordinates:
    """Converts the free schedules of a space to cosine coefficients and back.

    Attributes:
        schedule: for each coefficient, the index of its schedule among the free ones; indices
            after those are choices; [D].
        order: for each coefficient, its order; [D]. Shares of tokens have no order 0, because they
            sum to 1; choices have only order 0.
        is_choice: for each coefficient, whether it stands for a value of a choice; [D].
        schedules: names of the free schedules that have at least one coefficient.

    Args:
        space: what is searched.
        tokens: L if it is known: mask ratios then stand for whole tokens.
    """

    def __init__(self, space: Space, tokens: int | None = None) -> None:
        self._space, self._tokens = space, tokens
        lengths = {name: SCHEDULES[name].length(space.start.steps) for name in space.free}
        self.schedules = tuple(name for name in space.free if lengths[name])
        schedule: list[int] = []
        order: list[int] = []
        self._bases: dict[str, Vector] = {}
        for i, name in enumerate(self.schedules):
            shares = SCHEDULES[name].masks
            steps = lengths[name] + shares
            orders = range(1 if shares else 0, steps)
            time = (np.arange(steps) + 0.5) / steps
            self._bases[name] = np.stack([np.cos(np.pi * k * time) for k in orders])
            schedule += [i] * len(orders)
            order += orders
        self._choices = dict(space.choices)
        for i, values in enumerate(self._choices.values(), start=len(self.schedules)):
            schedule += [i] * len(values)
            order += [0] * len(values)
        self.is_choice = np.array(schedule) >= len(self.schedules)
        self.schedule: npt.NDArray[np.int64] = np.array(schedule)
        self.order: npt.NDArray[np.int64] = np.array(order)

    @property
    def steps(self) -> int:
        """T."""
        return self._space.start.steps

    def __len__(self) -> int:
        """D, the number of coefficients."""
        return len(self.order)

    def length_groups(self) -> npt.NDArray[np.int64]:
        """For each coefficient, the index of its length scale in a Gaussian process; [D].

        A schedule has two length scales: one for level and slope, one for all finer orders.
        """
        raw = 2 * self.schedule + (self.order > COARSE_ORDER)
        return np.asarray(np.unique(raw, return_inverse=True)[1], dtype=np.int64)

    def reach(self) -> Vector:
        """The largest magnitude of each coefficient in a search: 1 for levels, less for finer
        orders; [D]."""
        return np.where(self.order == 0, 1.0, 0.8 / np.maximum(self.order, 1))

    def up_to(self, finest: int | None) -> npt.NDArray[np.int64]:
        """Return the indices of the coefficients of curves up to an order; of all without one."""
        coarse = np.full(len(self), True) if finest is None else self.order <= finest
        return np.flatnonzero(coarse & ~self.is_choice)

    def taken_over(self, others: Coordinates, points: Vector) -> Vector:
        """Return points of another T's coordinates in these.

        Both spaces have the same free schedules and choices. Orders that the other T lacks are 0;
        those that this T lacks are dropped.

        Args:
            others: the coordinates of the other T.
            points: [N, D'].

        Returns:
            The points, [N, D].
        """
        theirs = {key: i for i, key in enumerate(others._keys())}
        taken = np.zeros((len(points), len(self)))
        for i, key in enumerate(self._keys()):
            if key in theirs:
                taken[:, i] = points[:, theirs[key]]
        return taken

    def _keys(self) -> list[tuple[str, int]]:
        """What each coefficient stands for, in words that are the same for every T: a schedule and
        an order, or a choice and the index of one of its values."""
        names = [*self.schedules, *self._choices]
        keys: list[tuple[str, int]] = []
        for schedule, order, is_choice in zip(
            self.schedule, self.order, self.is_choice, strict=True
        ):
            name = names[schedule]
            index = sum(known == name for known, _ in keys) if is_choice else int(order)
            keys.append((name, index))
        return keys

    def combinations(self) -> list[Vector]:
        """The possible coefficients of the choices: one row for each combination of values."""
        each = [np.eye(len(values)) for values in self._choices.values()]
        return [np.concatenate([np.empty(0), *rows]) for rows in itertools.product(*each)]

    def choose(self, points: Vector, rng: np.random.Generator) -> None:
        """Set the choices of points [N, D] at random, in place.

        If no choices are searched, no random number is drawn.
        """
        if self._choices:
            rows = np.stack(self.combinations())
            points[:, self.is_choice] = rows[rng.integers(len(rows), size=len(points))]

    def from_strategy(self, strategy: GenerationStrategy) -> Vector:
        """Return the coefficients [D] of a strategy."""
        parts = []
        for name in self.schedules:
            basis = self._bases[name]
            values = self._curve(name, strategy)
            parts.append(basis @ values / (basis**2).sum(1))
        chosen = self._space.to_vector(strategy)[self._space.free_length :]
        for place, words in zip(chosen, self._choices.values(), strict=True):
            parts.append(np.eye(len(words))[round(place)])
        return np.concatenate(parts)

    def to_strategy(self, coefficients: Vector) -> GenerationStrategy:
        """Return the strategy with these coefficients [D].

        Curves are clipped to the bounds; a choice takes the value with the largest coordinate.
        """
        space, start = self._space, self._space.start
        values = {name: np.array(start.schedule(name)) for name in space.free}
        for i, name in enumerate(self.schedules):
            curve = coefficients[self.schedule == i] @ self._bases[name]
            bound = space.bounds[name]
            if SCHEDULES[name].masks:
                shares = np.exp(LOG_SHARE_RANGE * np.clip(curve, -1.5, 1.5))
                masked = 1 - np.cumsum(shares)[:-1] / shares.sum()
                if self._tokens is not None:
                    # The middle of the ratios that floor(L * ratio) maps to this count, so that
                    # rounding cannot change it.
                    counts = np.round(masked * self._tokens)
                    masked = np.clip((counts + 0.5) / self._tokens, 0, 1 - 0.5 / self._tokens)
                values[name] = np.clip(masked, bound.low, bound.high)
            else:
                unit = (np.clip(curve, -1, 1) + 1) / 2
                low, high = bound.low, bound.high
                natural = low * (high / low) ** unit if bound.log else low + unit * (high - low)
                values[name] = np.clip(natural, low, high)
        chosen = [
            [np.argmax(coefficients[self.schedule == i])]
            for i in range(len(self.schedules), len(self.schedules) + len(self._choices))
        ]
        return space.from_vector(np.concatenate([*(values[n] for n in space.free), *chosen]))

    def derivatives(self, strategy: GenerationStrategy) -> Vector:
        """Return how the values of a gradient change with the coefficients, [3T - 1, D].

        The values are those of `search.gradient.DIFFERENTIABLE`: temperatures in their logs. Rows
        of frozen schedules are 0, and so are those of temperatures of 0, and of guidance that is
        left out because of a floor or of a limit of forward passes.
        """
        steps, parts = strategy.steps, []
        left_out = self._space.max_forward_passes is not None or strategy.guidance_floor > 0
        for name in DIFFERENTIABLE:
            part = np.zeros((SCHEDULES[name].length(steps), len(self)))
            if name in self.schedules:
                bound = self._space.bounds[name]
                values = np.clip(strategy.schedule(name), bound.low, bound.high)
                moves = np.full(len(values), True)
                # d value / d curve: a curve runs from -1 to 1 over the range.
                rise = np.full(len(values), (bound.high - bound.low) / 2)
                if bound.log:
                    rise = values * math.log(bound.high / bound.low) / 2
                if name in LOGARITHMIC:
                    moves = values > 0
                    rise = rise / np.where(moves, values, 1.0)
                elif left_out:
                    moves = np.array(strategy.guided)
                free = self.schedule == self.schedules.index(name)
                part[:, free] = (rise * moves)[:, None] * self._bases[name].T
            parts.append(part)
        return np.concatenate(parts)

    def _curve(self, name: str, strategy: GenerationStrategy) -> Vector:
        """A schedule on its scale in [-1, 1], one value a step."""
        values = np.array(strategy.schedule(name))
        if SCHEDULES[name].masks:
            if self._tokens is not None and strategy.steps <= self._tokens:
                counts = np.array(strategy.masked_counts(self._tokens)[:-1])
                values = counts / self._tokens
            shares = -np.diff(np.concatenate([[1.0], values, [0.0]]))
            logs: Vector = np.log(np.maximum(shares, LOWEST_SHARE)) / LOG_SHARE_RANGE
            return np.asarray(logs - logs.mean())
        bound = self._space.bounds[name]
        clipped = np.clip(values, bound.low, bound.high)
        if bound.log:
            unit = np.log(clipped / bound.low) / np.log(bound.high / bound.low)
        else:
            unit = (clipped - bound.low) / (bound.high - bound.low)
        return np.asarray(2 * unit - 1)
