from __future__ import annotations

import pytest

from search.measurement import Failure
from search.optimiser import Budget
from search.registry import make_optimiser
from tests.trials.tracking.runs import SPACE, settings
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Study


@pytest.fixture
def record(lab: Lab) -> Record:
    record = Record.create(lab.record_url, "study", settings())
    optimiser = make_optimiser("random", SPACE, Budget(800, 100), 0)
    study = Study(optimiser, record, SPACE, 8, lambda _: None)
    run_local(study, SimulatedObjective())
    extra = record.evaluations[-1].probe
    record.add(
        extra.__class__(8, extra.strategy, 100, extra.seed, 8, "sample"), Failure("no"), SPACE
    )
    return record
