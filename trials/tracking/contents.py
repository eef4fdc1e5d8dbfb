"""What the runs of MLflow hold: that of a study, and that of an evaluation."""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from search.measurement import Measurement
from search.strategy_file import image_flops
from trials.record.evaluation import Evaluation
from trials.record.kinds import reported_metric
from trials.record.record import Record
from trials.record.speed import speed_of
from trials.tracking.views import STUDY_NAME_TAG, STUDY_TAG

PROBE_TAG = "autonat.probe"
TRIAL_TAG = "autonat.trial"
"""The evaluation's number: a probe that failed and was tried again has two."""
PARENT = "parent"
"""In the place of a probe's number: the run of a whole study."""


class Contents(NamedTuple):
    """Of a run. MLflow takes the first metric for the axis of a comparison."""

    tags: dict[str, str]
    metrics: dict[str, float]
    parameters: dict[str, str]


def of_study(record: Record) -> Contents:
    """What the run of a study holds from its beginning."""
    settings = record.settings
    search, objective = settings["search"], settings["objective"]
    optimiser, tested = settings.get("optimiser"), reported_metric(settings)
    tags = {
        STUDY_TAG: record.study_id,
        PROBE_TAG: PARENT,
        STUDY_NAME_TAG: record.name,
        "search": settings.get("search_name"),
        "kind": settings["kind"],
        "method": optimiser,
        "T": search["steps"],
        "objective": objective["name"],
        "dataset": objective.get("dataset"),
        "protocol": protocol_in_words(settings.get("protocol") or {}),
        "test metric": None if tested == record.metric else tested,
    }
    parameters = {
        "kind": settings["kind"],
        "objective": objective["name"],
        "checkpoint": objective["checkpoint"],
        "optimiser": optimiser,
        "steps": search["steps"],
        "budget": search["budget"],
        "images_per_evaluation": search["images_per_evaluation"],
        "seed": search["seed"],
        "python": platform.python_version(),
    }
    return Contents(_said(tags), {}, _said(parameters))


def of_evaluation(record: Record, evaluation: Evaluation, parent: str) -> Contents:
    """What the run of an evaluation holds.

    Args:
        record: of its study.
        evaluation: it.
        parent: the id of its study's run.
    """
    probe = evaluation.probe
    tags = {
        STUDY_TAG: record.study_id,
        PROBE_TAG: str(probe.number),
        TRIAL_TAG: str(evaluation.number),
        MLFLOW_PARENT_RUN_ID: parent,
        "role": probe.role,
        "study": record.name,
    }
    if evaluation.reason:
        tags["reason"] = evaluation.reason
    metrics = _measured(record, evaluation) | {"images": float(evaluation.images)}
    parameters: dict[str, Any] = {"seed": probe.seed, "step": probe.step, "n": probe.images}
    parameters |= record.parameters(probe)
    if probe.training is not None:
        parameters |= probe.training.strategy.parameters()
        metrics["training_steps"] = evaluation.training_steps
        tags["training"] = str(probe.training.strategy)
    return Contents(tags, metrics, {key: repr(value) for key, value in parameters.items()})


def protocol_in_words(protocol: dict[str, Any]) -> str | None:
    """A protocol in one line: "metric fid, features pixels"; None of an empty one."""
    return (
        ", ".join(f"{key} {value}" for key, value in protocol.items() if value is not None) or None
    )


def _measured(record: Record, evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation that succeeded, its value first."""
    result = evaluation.result
    if not isinstance(result, Measurement):
        return {}
    metric, speed = result.metric, speed_of(record, evaluation)
    # FIDs compare at equal n only: one that was stopped early goes by another name.
    values: dict[str, float | None] = {
        f"{metric}_stopped" if evaluation.stopped else metric: result.value,
        f"{metric}_se": result.standard_error,
        f"{metric}_infinite": result.value_infinite,
        "validation_loss": result.validation_loss,
        "seconds": result.seconds,
        "forward_passes": result.forward_passes,
        "flops": image_flops(record.settings["objective"], evaluation.probe.strategy),
        "flops_per_second": None if speed is None else speed.flops,
        "share_of_ceiling": None if speed is None else speed.share,
    }
    return {name: value for name, value in values.items() if value is not None}


def _said(values: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}
