"""What a search's final test has measured, read from its record.

Where failures were tried again, the record may hold evaluations of an earlier winner until the
test has gone through them: they are none of the present one's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.measurement import Measurement
from search.optimiser import Probe
from search.strategy import GenerationStrategy
from search.strategy_file import FinalTest
from search.training_strategy import TrainingStrategy
from trials.record.evaluation import same_values
from trials.record.kinds import TEST
from trials.record.record import Record


@dataclass(frozen=True)
class Tested:
    """What the final test measured of one strategy.

    Attributes:
        strategy: it.
        images: n of one evaluation.
        training: of its model, where one was trained for it.
        values: by seed; NaN where the evaluation failed.
        measured: what the others gave.
    """

    strategy: GenerationStrategy
    images: int
    training: TrainingStrategy | None
    values: dict[int, float]
    measured: list[Measurement]

    def final_test(self) -> FinalTest | None:
        """The test, or None while a seed has no number."""
        if not self.values or not all(map(math.isfinite, self.values.values())):
            return None
        passes, first = self.strategy.forward_passes(), self.measured[0]
        return FinalTest.of(self.values, self.images, passes, first.standard_error, first.metric)

    def is_of(self, strategy: GenerationStrategy, training: TrainingStrategy | None) -> bool:
        """Whether this is what it measures, up to the last digits."""
        return same_values(_values(strategy, training), _values(self.strategy, self.training))

    @property
    def checkpoint(self) -> str | None:
        """Hash of the weights of the first model that was trained for it."""
        return next((m.checkpoint for m in self.measured if m.checkpoint is not None), None)

    @property
    def spread(self) -> float | None:
        """The mean over the seeds, or None where one does not say."""
        spreads = [m.spread for m in self.measured if m.spread is not None]
        return math.fsum(spreads) / len(spreads) if len(spreads) == len(self.values) > 0 else None


def final_tests(records: list[Record]) -> dict[str, Tested]:
    """What the final test of a search has measured, by method and control."""
    tests: dict[str, Tested] = {}
    for record in records:
        if record.settings["kind"] != TEST:
            continue
        for name, strategy in record.settings["strategies"].items():
            parsed = GenerationStrategy.from_json(strategy)
            trained = record.settings.get("trainings", {}).get(name)
            training = None if trained is None else TrainingStrategy.from_json(trained)
            images = record.settings["search"]["test_images"]
            tests[name] = Tested(parsed, images, training, {}, [])
        for evaluation in sorted(record.evaluations, key=lambda e: e.probe.number):
            measured, test = evaluation.measurement, tests.get(evaluation.probe.role)
            if test is None or not test.is_of(*_asked(evaluation.probe)):
                continue
            test.values[evaluation.probe.seed] = measured.value if measured else math.nan
            if measured is not None:
                test.measured.append(measured)
    return tests


def _asked(probe: Probe) -> tuple[GenerationStrategy, TrainingStrategy | None]:
    return probe.strategy, None if probe.training is None else probe.training.strategy


def _values(strategy: GenerationStrategy, training: TrainingStrategy | None) -> dict[str, float]:
    return strategy.parameters() | ({} if training is None else training.parameters())
