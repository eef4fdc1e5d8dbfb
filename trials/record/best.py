"""The winner of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.optimiser import Probe, Training
from search.seeds import means_over_shared_seeds
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

    See `means_over_shared_seeds`: where a re-test failed, means are over the other seeds.

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
    means = means_over_shared_seeds(values)
    best = min(means, key=means.__getitem__)
    return Best(best, means[best])
