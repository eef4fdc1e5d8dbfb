from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage

from search.measurement import Failure, Measurement
from search.optimiser import Probe
from search.space import Space
from search.strategy import GenerationStrategy
from trials.record.evaluation import trial_of
from trials.record.record_storage import RecordStorage

START = GenerationStrategy.maskgit(3)
PROBE = Probe(0, START, 100, 2**31, 0, "start")
GOOD = Measurement(3.25, 0.5, 100, START.forward_passes(), 1.5, value_at=((25, 4.0),))
RESULTS = [
    GOOD,
    dataclasses.replace(GOOD, images=25),  # stopped early
    dataclasses.replace(GOOD, value=float("inf")),
    dataclasses.replace(GOOD, value=-0.25, metric="kid"),
    Failure("out of memory"),
]


def tables(url: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = sqlalchemy.create_engine(url)
    schema = sqlalchemy.MetaData()
    schema.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: [tuple(row) for row in connection.execute(sqlalchemy.select(table))]
            for name, table in schema.tables.items()
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("space", [Space(START), None])
def test_it_writes_the_rows_that_optuna_writes(tmp_path: Path, space: Space | None) -> None:
    urls = {
        kind: f"sqlite:///{tmp_path}/{kind.__name__}.db" for kind in (RDBStorage, RecordStorage)
    }
    for kind, url in urls.items():
        study = optuna.create_study(storage=kind(url), study_name="study")
        for result in RESULTS:
            study.add_trial(trial_of(PROBE, result, space, datetime(2026, 1, 2, 3, 4, 5)))
    ours, theirs = tables(urls[RecordStorage]), tables(urls[RDBStorage])
    assert len(ours["trials"]) == len(RESULTS)
    assert len(ours["trial_params"]) == len(RESULTS) * len(START.parameters())
    assert len(ours["trial_intermediate_values"]) == 2 + 1 + 2 + 2  # at 25 images, and at 100
    assert ours == theirs


def test_a_trial_that_runs_is_left_to_optuna(tmp_path: Path) -> None:
    study = optuna.create_study(storage=RecordStorage(f"sqlite:///{tmp_path}/record.db"))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
