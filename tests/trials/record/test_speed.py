"""The speed of evaluations, from what they cost and how long they took."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from search.measurement import Failure, Measurement
from search.optimiser import Probe
from search.strategy import GenerationStrategy
from trials.record.evaluation import Evaluation, evaluation_of, trial_of
from trials.record.speed import Speed, speed_of, usual_speed

STRATEGY = GenerationStrategy.maskgit(4)
PROBE = Probe(0, STRATEGY, 100, 1, 0, "test")


def record(*results: Measurement | Failure, flops: dict[str, int] | None = None) -> Any:
    found = [Evaluation(i, PROBE, r, datetime(2026, 1, 1)) for i, r in enumerate(results)]
    return SimpleNamespace(settings={"objective": {"flops": flops}}, evaluations=found)


def measured(seconds: float, ceiling: float | None = None) -> Measurement:
    return Measurement(3.0, 0.1, 100, STRATEGY.forward_passes(), seconds, ceiling=ceiling)


def test_operations_of_passes_and_decoding_over_the_seconds() -> None:
    cost = {"pass": 1000, "decode": 200}
    each = 1000 * STRATEGY.forward_passes() + 200
    known = record(measured(2.0), measured(2.0, ceiling=1e6), Failure("broken"), flops=cost)
    one, other, failed = known.evaluations
    assert speed_of(known, one) == Speed(each * 50, None)
    on_gpu = (each - 2000) * 50  # the first step, which is guided, is not counted
    assert speed_of(known, other) == Speed(on_gpu, on_gpu / 1e6)
    assert speed_of(known, failed) is None
    assert speed_of(record(measured(2.0)), one) is None
    share = f"{on_gpu / 1e6:.1%} of what matrix products reach on the device"
    median = (each * 50 + on_gpu) / 2 / 1e9
    assert usual_speed([known]) == f"{median:.3g} GFLOP/s, {share} (median evaluation)"
    assert usual_speed([record(Failure("broken"), flops=cost)]) is None


@pytest.mark.parametrize("ceiling", [None, 7.6e14])
def test_the_record_keeps_the_ceiling(ceiling: float | None) -> None:
    trial = trial_of(PROBE, measured(2.0, ceiling), None, datetime(2026, 1, 1))
    assert evaluation_of(trial).measurement == measured(2.0, ceiling)
