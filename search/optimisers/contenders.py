"""Which strategies a search measures again in the end.

D: coordinates of a strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from search.bound import Vector
from search.choices import CHOICES
from search.coordinates import Coordinates
from search.ledger import Ledger
from search.optimiser import Probe
from search.seeds import means_over_shared_seeds
from search.strategy import GenerationStrategy

Predict = Callable[[Vector], tuple[Vector, Vector]]
"""Maps points [N, D] to their expected values and deviations, [N] each."""


def better_half(
    last: Sequence[GenerationStrategy], retests: Sequence[Probe], ledger: Ledger
) -> list[GenerationStrategy]:
    """Return the better half of the strategies of a re-test round, at least one.

    Args:
        last: the strategies of the round.
        retests: the probes of all rounds so far.
        ledger: holds their values.
    """
    values: dict[GenerationStrategy, dict[int, float]] = {strategy: {} for strategy in last}
    for probe in retests:
        value = ledger.value(probe.number)
        if probe.strategy in values and value is not None:
            values[probe.strategy][probe.seed] = value
    means = means_over_shared_seeds(values)
    ranked = sorted(last, key=means.__getitem__)
    return ranked[: max(1, len(last) // 2)]


def beside_other_choices(
    best: Sequence[GenerationStrategy],
    coordinates: Coordinates,
    measured: Sequence[Vector],
    predict: Predict,
) -> list[GenerationStrategy]:
    """Return strategies, and after each the same one with those other choices that the model thinks
    best of; without duplicates.

    A model has seen few strategies with each choice; seeds that two of them share tell how good it
    is. Choices with which nothing could be measured are left out.

    Args:
        best: the strategies.
        coordinates: of all strategies.
        measured: the points [D] whose measurement did not fail.
        predict: of the model.
    """
    chosen = coordinates.is_choice
    found: list[GenerationStrategy] = []
    for strategy in best:
        found.append(strategy)
        point = coordinates.from_strategy(strategy)
        others = [x[chosen] for x in measured if not np.array_equal(x[chosen], point[chosen])]
        if others:
            points = np.repeat(point[None], len(others), axis=0)
            points[:, chosen] = others
            means, _ = predict(points)
            other = coordinates.to_strategy(points[np.argmin(means)])
            changed = {name: getattr(other, name) for name in CHOICES}
            found.append(replace(strategy, **changed))
    return list(dict.fromkeys(found))
