"""The winner of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.optimiser import Probe, Training
from search.strategy import GenerationStrategy


@dataclass(frozen=True)
class Best:
    """The winner of a search.

    Attributes:
        strategy: the winner.
        training: how the winner's model was trained, where the search trained it.
        checkpoint: the hash of that model's weights.
        value: the search's own estimate: the mean of the winner's re-tests or, without re-tests,
            the lowest value seen, which is biased low because it was chosen for being low.
    """

    strategy: GenerationStrategy
    value: float
    training: Training | None = None
    checkpoint: str | None = None


def best_of_retests(retests: Sequence[tuple[Probe, float]]) -> Best:
    """Return the strategy of the last re-tests with the lowest mean.

    The mean is over the seeds under which none of these strategies failed, because values under
    different seeds do not compare; without such seeds it is over those that a strategy has.

    Args:
        retests: the re-tests that were measured, one or more, with their values.
    """
    last = max(probe.step for probe, _ in retests)
    values: dict[GenerationStrategy, dict[int, float]] = {
        probe.strategy: {} for probe, _ in retests if probe.step == last
    }
    for probe, value in sorted(retests, key=lambda pair: pair[0].number):
        if probe.strategy in values:
            values[probe.strategy][probe.seed] = value
    shared = set[int].intersection(*map(set, values.values()))
    means: list[Best] = []
    for strategy, by_seed in values.items():
        seeds = shared or set(by_seed)
        mean = math.fsum(by_seed[seed] for seed in seeds) / len(seeds)
        means.append(Best(strategy, mean))
    return min(means, key=lambda best: best.value)
