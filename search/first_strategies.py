"""The strategies measured first, so that all methods of a comparison start with equal knowledge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.bound import Vector
from search.controls import CONTROLS, START
from search.coordinates import Coordinates
from search.ledger import Ledger
from search.space import Space
from search.strategy import GenerationStrategy


def first_points(space: Space, coordinates: Coordinates) -> dict[str, Vector]:
    """Return the coefficients of the start and of the controls of its T, without duplicates."""
    points = {START: coordinates.from_strategy(space.start)}
    for name, control in CONTROLS.items():
        strategy = control(coordinates.steps)
        if strategy.steps == coordinates.steps:
            point = coordinates.from_strategy(strategy)
            if not any(np.allclose(point, known) for known in points.values()):
                points[name] = point
    return points


def first_strategies(space: Space, tokens: int | None = None) -> dict[str, GenerationStrategy]:
    """Return the space's start and the controls of the same T, by name.

    The controls are those that coarse-to-fine measures: clipped to the bounds, with the start's
    frozen schedules and no more forward passes than the space allows.

    Args:
        space: what is searched.
        tokens: L if it is known: mask ratios then stand for whole tokens.
    """
    coordinates = Coordinates(space, tokens)
    points = first_points(space, coordinates)
    del points[START]
    controls = {name: coordinates.to_strategy(point) for name, point in points.items()}
    return {START: space.start, **controls}


def best_of(strategies: Sequence[GenerationStrategy], ledger: Ledger) -> GenerationStrategy:
    """Return the strategy with the lowest value, or the first strategy if all failed.

    Args:
        strategies: those that the first probes measured, in their order.
        ledger: the probes and their values.
    """
    fids = [None if ledger.stopped(i) else ledger.value(i) for i in range(len(strategies))]
    found = [(fid, i) for i, fid in enumerate(fids) if fid is not None]
    return strategies[min(found)[1] if found else 0]
