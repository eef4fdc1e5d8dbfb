"""What a search's final test has measured, read from its record."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.measurement import Measurement
from search.strategy import GenerationStrategy
from search.strategy_file import FinalTest
from search.training_strategy import TrainingStrategy
from trials.record import Record


@dataclass(frozen=True)
class Tested:
    """What the final test measured of one strategy.

    Attributes:
        strategy: it.
        images: n of one evaluation.
        training: of its model, where one was trained for it.
        fids: by seed; NaN where the evaluation failed.
        measured: what the others gave.
    """

    strategy: GenerationStrategy
    images: int
    training: TrainingStrategy | None
    fids: dict[int, float]
    measured: list[Measurement]

    def final_test(self) -> FinalTest | None:
        """The test, or None while a seed has no number."""
        if not self.fids or not all(map(math.isfinite, self.fids.values())):
            return None
        passes, stated = self.strategy.forward_passes(), self.measured[0].fid_se
        return FinalTest.of(self.fids, self.images, passes, stated)

    @property
    def checkpoint(self) -> str | None:
        """Hash of the weights of the first model that was trained for it."""
        return next((m.checkpoint for m in self.measured if m.checkpoint is not None), None)

    @property
    def spread(self) -> float | None:
        """The mean over the seeds, or None where one does not say."""
        spreads = [m.spread for m in self.measured if m.spread is not None]
        return math.fsum(spreads) / len(spreads) if len(spreads) == len(self.fids) > 0 else None


def final_tests(records: list[Record]) -> dict[str, Tested]:
    """What the final test of a search has measured, by method and control."""
    tests: dict[str, Tested] = {}
    for record in records:
        if record.settings["kind"] != "test":
            continue
        for name, strategy in record.settings["strategies"].items():
            parsed = GenerationStrategy.from_json(strategy)
            trained = record.settings.get("trainings", {}).get(name)
            training = None if trained is None else TrainingStrategy.from_json(trained)
            images = record.settings["search"]["test_images"]
            tests[name] = Tested(parsed, images, training, {}, [])
        for evaluation in sorted(record.evaluations, key=lambda e: e.probe.number):
            measured, test = evaluation.measurement, tests[evaluation.probe.role]
            test.fids[evaluation.probe.seed] = measured.fid if measured else math.nan
            if measured is not None:
                test.measured.append(measured)
    return tests
