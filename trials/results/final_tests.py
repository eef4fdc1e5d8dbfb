"""The final test of a search, read from its record.

After failures were tried again, the record may still hold evaluations of an earlier winner. They
are not part of the test of the present one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.final_test import FinalTest
from search.measurement import Measurement
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.record.evaluation import pair_of, same_strategies
from trials.record.kinds import TEST
from trials.record.record import Record


@dataclass(frozen=True)
class Tested:
    """The final test of one strategy.

    Attributes:
        strategy: the tested strategy.
        images: n of one evaluation.
        seeds: the number of seeds of the whole test.
        training: how its model was trained, where one was trained for it.
        values: the values by seed; NaN where the evaluation failed.
        measured: the measurements of the evaluations that did not fail.
    """

    strategy: GenerationStrategy
    images: int
    seeds: int
    training: TrainingStrategy | None
    values: dict[int, float]
    measured: list[Measurement]

    @property
    def whole(self) -> bool:
        """Whether every seed was tried."""
        return len(self.values) == self.seeds

    def final_test(self) -> FinalTest | None:
        """The finished test, or None while a seed has no value."""
        if not self.whole or not all(map(math.isfinite, self.values.values())):
            return None
        passes, first = self.strategy.forward_passes(), self.measured[0]
        return FinalTest.of(self.values, self.images, passes, first.standard_error, first.metric)

    def is_of(self, strategy: GenerationStrategy, training: TrainingStrategy | None) -> bool:
        """Whether it tests this strategy and training, up to the last digits of their values."""
        return same_strategies((self.strategy, self.training), (strategy, training))

    @property
    def checkpoint(self) -> str | None:
        """The hash of the weights of the first model that was trained for it, or None."""
        return next((m.checkpoint for m in self.measured if m.checkpoint is not None), None)

    @property
    def spread(self) -> float | None:
        """The mean spread over the seeds, or None where a measurement has none."""
        spreads = [m.spread for m in self.measured if m.spread is not None]
        return math.fsum(spreads) / len(spreads) if len(spreads) == len(self.values) > 0 else None


def final_tests(records: list[Record]) -> dict[str, Tested]:
    """The final tests in the records of a search, by the name of the method or control."""
    tests: dict[str, Tested] = {}
    for record in records:
        if record.settings["kind"] != TEST:
            continue
        for name, strategy in record.settings["strategies"].items():
            parsed = GenerationStrategy.from_json(strategy)
            trained = record.settings.get("trainings", {}).get(name)
            training = None if trained is None else TrainingStrategy.from_json(trained)
            search = record.settings["search"]
            images, seeds = search["test_images"], len(search["test_seeds"])
            tests[name] = Tested(parsed, images, seeds, training, {}, [])
        for evaluation in sorted(record.evaluations, key=lambda e: e.probe.number):
            measured, test = evaluation.measurement, tests.get(evaluation.probe.role)
            if test is None or not test.is_of(*pair_of(evaluation.probe)):
                continue
            test.values[evaluation.probe.seed] = measured.value if measured else math.nan
            if measured is not None:
                test.measured.append(measured)
    return tests
