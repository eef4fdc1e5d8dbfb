"""A search whose record is mirrored, and its runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable

import mlflow
from mlflow.tracking import MlflowClient

from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.record.record import Record

SPACE = Space(GenerationStrategy.maskgit(2))
GOOD = Measurement(1.5, None, 100, 4, 0.1)


def settings() -> dict[str, object]:
    search = {"steps": 2, "budget": 800, "images_per_evaluation": 100, "seed": 0}
    return {
        "kind": "search",
        "optimiser": "random",
        "objective": {"name": "simulated", "checkpoint": None},
        "search": search,
    }


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(lab: Lab, record: Record) -> list[mlflow.entities.Run]:
    client = MlflowClient(lab.tracking_uri)
    experiment = client.get_experiment_by_name("autonat evaluations")
    assert experiment is not None
    query = f"tags.`autonat.study_id` = '{record.study_id}'"
    runs = client.search_runs([experiment.experiment_id], query)
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags]
