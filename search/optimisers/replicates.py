"""Measures a list of strategies once for each seed, for final tests and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.ledger import Ledger
from search.measurement import Failure, Measurement
from search.optimiser import DONE, Probe, Signal, Training
from search.strategy import GenerationStrategy


class Replicates:
    """Asks every strategy for the first seed, then every one for the second, and so on.

    Args:
        strategies: the strategies by name, which becomes the role of the probe.
        images: n, the number of images of one evaluation.
        seeds: the seeds; each is one step.
        trainings: the training of each strategy whose model is trained for it, by name.
        metric: the name of the metric to measure in; None for that of the objective.
    """

    def __init__(
        self,
        strategies: Mapping[str, GenerationStrategy],
        images: int,
        seeds: Sequence[int],
        trainings: Mapping[str, Training] | None = None,
        metric: str | None = None,
    ) -> None:
        self._list = [
            (step, seed, role, strategy)
            for step, seed in enumerate(seeds)
            for role, strategy in strategies.items()
        ]
        self._images, self._trainings, self._metric = images, trainings or {}, metric
        self._ledger = Ledger()

    def __len__(self) -> int:
        """How many probes it asks."""
        return len(self._list)

    def ask(self) -> Probe | Signal:
        """Return the next probe of the list, then DONE."""
        number = len(self._ledger)
        if number == len(self._list):
            return DONE
        step, seed, role, strategy = self._list[number]
        training = self._trainings.get(role)
        return self._ledger.ask(
            Probe(number, strategy, self._images, seed, step, role, training, metric=self._metric)
        )

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        """See `Optimiser.tell`."""
        self._ledger.tell(probe, result)
