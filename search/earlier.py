"""What a search knows from the start: the evaluations of earlier searches at other T.

Schedules are curves over the steps, so a strategy of another T has coefficients in the same
coordinates (see search.coordinates). One Gaussian process over the curves and log2 T learns from
all of them, and finds out by itself how much an evaluation at another T says.

The values of two T differ in level and spread. They are brought onto one scale by the strategies
that every search measures first: the start and the controls (see search.first_strategies).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from search.bound import Vector
from search.coordinates import Coordinates
from search.first_strategies import first_strategies
from search.gaussian_process import Data, GaussianProcess, Slopes
from search.optimiser import Evaluated
from search.space import Space
from search.strategy import GenerationStrategy
from search.value_scale import ReferenceScale, informative

FEWEST_COMMON = 2
"""How many of the first strategies two searches must both have measured: a level and a spread."""
SEEDS_APART = 2**33
"""Keeps the seeds of searches apart: under different T a common seed is not common noise."""


@dataclass(frozen=True)
class EarlierSearch:
    """A finished search.

    Attributes:
        space: what it searched: the same schedules, bounds and choices, at any T.
        best: the strategy that it found.
        evaluations: all that it measured, in the order of its probes.
    """

    space: Space
    best: GenerationStrategy
    evaluations: Sequence[Evaluated]

    def first_values(self, tokens: int | None) -> dict[str, float]:
        """Return the mean value of each of the first strategies that it measured, by name."""
        found: dict[str, float] = {}
        for name, strategy in first_strategies(self.space, tokens).items():
            values = [e.value for e in self.evaluations if e.strategy == strategy]
            if values:
                found[name] = math.fsum(values) / len(values)
        return found


class Knowledge:
    """Earlier searches as data for a Gaussian process over curves and T.

    Its points have one number more than the coordinates: log2 of T over the T of this search.

    Args:
        searches: the earlier searches, at least one.
        space: what this search searches.
        coordinates: of this search; D numbers.
        tokens: L if it is known.

    Attributes:
        best: what each earlier search found, in these coordinates; [D] each.

    Raises:
        ValueError: the searches have fewer than two of the start and the controls in common.
    """

    def __init__(
        self,
        searches: Sequence[EarlierSearch],
        space: Space,
        coordinates: Coordinates,
        tokens: int | None,
    ) -> None:
        self._names = tuple(first_strategies(space, tokens))
        self._parts: list[_Part] = []
        self.best: list[Vector] = []
        for number, search in enumerate(searches, start=1):
            theirs = Coordinates(search.space, tokens)
            measured = [theirs.from_strategy(e.strategy) for e in search.evaluations]
            points = coordinates.taken_over(theirs, np.stack(measured))
            ratio = theirs.steps / coordinates.steps
            self._parts.append(
                _Part(
                    search.first_values(tokens),
                    _beside(points, math.log2(ratio)),
                    np.array([e.value for e in search.evaluations]),
                    np.array([e.seed + number * SEEDS_APART for e in search.evaluations]),
                )
            )
            found = theirs.from_strategy(search.best)[None]
            self.best.append(np.clip(coordinates.taken_over(theirs, found)[0], -1, 1))
        common = self._common(self._names)
        if len(common) < FEWEST_COMMON:
            raise ValueError(
                "expected earlier searches that measured the start and the controls, whose values "
                f"make those of two T comparable; got {', '.join(common) or 'none'} of them in all"
            )

    def data(
        self, x: Vector, values: Vector, seeds: npt.NDArray[np.int64], most: int
    ) -> tuple[Data, ReferenceScale]:
        """Return this search's evaluations together with those of the earlier ones.

        Until this search has measured two of the strategies that all have measured, the earlier
        ones are left out.

        Args:
            x: this search's points, [N, D].
            values: their values, [N]; NaN for those that failed.
            seeds: their seeds, [N].
            most: how many evaluations to return at most; half of them are this search's.

        Returns:
            The data, and the scale of this search's values in it.
        """
        finite = np.isfinite(values)
        filled = np.where(finite, values, values[finite].max() if finite.any() else 1.0)
        own = {n: v for n, v in zip(self._names, values, strict=False) if math.isfinite(v)}
        common = self._common(own)
        parts = self._parts if len(common) >= FEWEST_COMMON else []
        scale = ReferenceScale.of([own[name] for name in common] if parts else filled)
        chosen = informative(filled, most // 2 if parts else most)
        rows = [(at_own_t(x[chosen]), scale.to_model(filled[chosen]), seeds[chosen])]
        for part in parts:
            theirs = ReferenceScale.of([part.first[name] for name in common])
            kept = informative(part.values, most // 2 // len(parts))
            rows.append((part.points[kept], theirs.to_model(part.values[kept]), part.seeds[kept]))
        points, y, drawn = (np.concatenate(column) for column in zip(*rows, strict=True))
        scale = scale.standardised(y)
        return Data(points, (y - scale.mean) / scale.deviation, drawn), scale

    def _common(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that every earlier search has measured."""
        return [name for name in names if all(name in part.first for part in self._parts)]


@dataclass(frozen=True)
class _Part:
    """An earlier search: the values of its first strategies, points [N, D + 1], values and
    seeds [N]."""

    first: dict[str, float]
    points: Vector
    values: Vector
    seeds: npt.NDArray[np.int64]


class AtOwnT:
    """A Gaussian process over curves and T, asked about curves [D] of the search's own T.

    Its methods are those of `GaussianProcess`.
    """

    def __init__(self, process: GaussianProcess) -> None:
        self._process = process

    def predict(self, x: Vector) -> tuple[Vector, Vector]:
        """See `GaussianProcess.predict`."""
        return self._process.predict(at_own_t(x))

    def difference(self, a: Vector, b: Vector) -> tuple[float, float]:
        """See `GaussianProcess.difference`."""
        return self._process.difference(*at_own_t(np.stack([a, b])))

    def bound(self, x: Vector, width: float) -> tuple[float, Vector]:
        """See `GaussianProcess.bound`."""
        value, gradient = self._process.bound(np.append(x, 0.0), width)
        return value, gradient[:-1]


def at_own_t(points: Vector) -> Vector:
    """Return points [N, D] of the search's own T with their log2 T, which is 0: [N, D + 1]."""
    return _beside(points, 0.0)


def slopes_at_own_t(slopes: Slopes) -> Slopes:
    """Return derivatives of the search's own T with log2 T among their coordinates."""
    return replace(slopes, x=at_own_t(slopes.x), directions=_beside(slopes.directions, 0.0))


def _beside(points: Vector, number: float) -> Vector:
    """Return points [N, D] with one more number, the same for all: [N, D + 1]."""
    return np.concatenate([points, np.full((len(points), 1), number)], axis=1)
