"""An evaluation in the record: the Optuna trial that stores it, and how to read it back.

The parameters of a trial are the values that were searched. Its user attributes hold everything
else about the evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.bound import Bound
from search.dimensions import SearchSpace
from search.gradient import Gradient
from search.ledger import amount_asked, amount_done
from search.measurement import Failure, Measurement
from search.optimiser import Probe, Training
from search.schedules import SCHEDULES
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy, distribution


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation.

    Attributes:
        number: of its trial in the study, from 0.
        probe: what the optimiser asked for.
        result: what was measured, or why that failed.
        finished: when it ended, in the local time of the driver.
    """

    number: int
    probe: Probe
    result: Measurement | Failure
    finished: datetime

    @property
    def measurement(self) -> Measurement | None:
        """The measurement, or None if the evaluation failed."""
        return self.result if isinstance(self.result, Measurement) else None

    @property
    def saved(self) -> float:
        """The share of its images or training steps that were not spent; 0 if it failed."""
        measured = self.measurement
        if measured is None:
            return 0.0
        return max(0.0, 1 - amount_done(self.probe, measured) / amount_asked(self.probe))

    @property
    def stopped(self) -> bool:
        """Whether it was stopped early, before all its images or training steps were spent."""
        return self.saved > 0

    @property
    def state(self) -> str:
        """The state in Optuna's words: COMPLETE, PRUNED (stopped early) or FAIL."""
        if self.measurement is None:
            return "FAIL"
        return "PRUNED" if self.stopped else "COMPLETE"

    @property
    def images(self) -> int:
        """Images that were generated; for a failed evaluation, those asked for."""
        return self.measurement.images if self.measurement else self.probe.images

    @property
    def training_steps(self) -> int:
        """Training steps that were made; for a failed evaluation, those asked for."""
        if self.measurement is not None:
            return self.measurement.training_steps
        return 0 if self.probe.training is None else self.probe.training.steps

    @property
    def reason(self) -> str:
        """Why the evaluation failed; an empty text if it did not."""
        return self.result.reason if isinstance(self.result, Failure) else ""


def probe_to_json(probe: Probe) -> dict[str, Any]:
    """A probe as JSON values; its number has the key "probe"."""
    told: dict[str, Any] = {
        "probe": probe.number,
        "step": probe.step,
        "role": probe.role,
        "seed": probe.seed,
        "images": probe.images,
        "strategy": probe.strategy.to_json(),
    }
    if probe.training is not None:
        training = probe.training
        told["training"] = {
            "strategy": training.strategy.to_json(),
            "steps": training.steps,
            "seed": training.seed,
        }
    if probe.gradient:
        told["gradient_asked"] = True
    if probe.metric is not None:
        told["metric_asked"] = probe.metric
    return told


def probe_from_json(data: Mapping[str, Any]) -> Probe:
    """The inverse of `probe_to_json`; other keys are ignored."""
    training = data.get("training")
    if training is not None:
        strategy = TrainingStrategy.from_json(training["strategy"])
        training = Training(strategy, training["steps"], training["seed"])
    return Probe(
        number=data["probe"],
        strategy=GenerationStrategy.from_json(data["strategy"]),
        images=data["images"],
        seed=data["seed"],
        step=data["step"],
        role=data["role"],
        training=training,
        gradient=data.get("gradient_asked", False),
        metric=data.get("metric_asked"),
    )


def sorting_name(name: str, steps: int) -> str:
    """The name of a schedule's value under which the values of T steps sort as they follow each
    other: "mask_ratio_02" where T >= 11. Other names stay."""
    schedule, _, place = name.rpartition("_")
    if not place.isdigit() or schedule not in SCHEDULES:
        return name
    return f"{schedule}_{place:0>{len(str(steps - 1))}}"


def names_of(trials: Iterable[FrozenTrial]) -> Callable[[str, int], str]:
    """What its record calls the parameters of a study that is gone on with: as it did before, for
    earlier versions did not let them sort, and a study has one name for a parameter."""
    for trial in trials:
        steps = trial.user_attrs["strategy"]["steps"]
        names = {name: sorting_name(name, steps) for name in trial.params}
        if any(name != own for own, name in names.items()):
            return lambda own, _: own
        if any(name.endswith("_00") for name in names.values()):
            break
    return sorting_name


def trial_of(
    probe: Probe,
    result: Measurement | Failure,
    space: SearchSpace | None,
    finished: datetime,
    named: Callable[[str, int], str] = sorting_name,
) -> FrozenTrial:
    """The trial of an evaluation.

    Args:
        probe: what was asked for.
        result: what was measured, or why that failed.
        space: the searched space; None where given strategies are measured.
        finished: when the evaluation ended, in local time.
        named: returns the name of a parameter in the record, from its own name and T.
    """
    attributes = {**probe_to_json(probe), "forward_passes": probe.strategy.forward_passes()}
    if isinstance(result, Failure):
        attributes["reason"] = result.reason
    else:
        metric = result.metric
        attributes |= {f"{metric}_se": result.standard_error, "seconds": result.seconds}
        attributes[f"{metric}_at"] = [list(point) for point in result.value_at]
        if result.spread is not None:
            attributes["spread"] = result.spread
        if result.ceiling is not None:
            attributes["ceiling_flops_per_second"] = result.ceiling
        if result.gradient is not None:
            attributes["gradient"] = asdict(result.gradient)
        if result.metric != "fid":
            attributes["metric"] = result.metric
    if isinstance(result, Measurement) and probe.training is not None:
        for name in ("training_steps", "validation_loss", "checkpoint"):
            attributes[name] = getattr(result, name)
    evaluation = Evaluation(0, probe, result, finished)
    state = TrialState[evaluation.state]
    fid = result.value if isinstance(result, Measurement) else None
    parameters = _parameters(probe, space)
    ranges = _distributions(probe, parameters, space)
    names = {name: named(name, probe.strategy.steps) for name in parameters}
    trial = create_trial(
        state=state,
        value=fid if state == TrialState.COMPLETE else None,
        intermediate_values=_growing(probe, result, evaluation.stopped),
        params={names[name]: value for name, value in parameters.items()},
        distributions={names[name]: found for name, found in ranges.items()},
        user_attrs=attributes,
    )
    seconds = 0.0 if isinstance(result, Failure) else result.seconds
    trial.datetime_start = finished - timedelta(seconds=seconds)
    trial.datetime_complete = finished
    return trial


def _growing(probe: Probe, result: Measurement | Failure, stopped: bool) -> dict[int, float]:
    """Values at growing n, for Optuna's pages, and where it was stopped; of a training, after so
    many steps."""
    if not isinstance(result, Measurement):
        return {}
    smaller = {} if probe.training is not None else dict(result.value_at)
    return {**smaller, amount_done(probe, result): result.value} if smaller or stopped else {}


def evaluation_of(trial: FrozenTrial) -> Evaluation:
    """The inverse of `trial_of`."""
    attributes = trial.user_attrs
    probe = probe_from_json(attributes)
    result: Measurement | Failure = Failure(attributes.get("reason", ""))
    if trial.state != TrialState.FAIL:
        metric = attributes.get("metric", "fid")
        # Of metrics other than FID, earlier versions recorded these under FID's names.
        error, smaller = (
            attributes.get(f"{metric}_{of}", attributes.get(f"fid_{of}")) for of in ("se", "at")
        )
        gradient = attributes.get("gradient")
        last = max(trial.intermediate_values, default=amount_asked(probe))
        fid = trial.intermediate_values.get(last) if trial.value is None else trial.value
        result = Measurement(
            value=math.nan if fid is None else fid,
            standard_error=error,
            images=last if probe.training is None else probe.images,
            forward_passes=attributes["forward_passes"],
            seconds=attributes["seconds"],
            value_at=tuple((int(n), float(fid)) for n, fid in smaller or ()),
            training_steps=attributes.get("training_steps", 0),
            validation_loss=attributes.get("validation_loss"),
            checkpoint=attributes.get("checkpoint"),
            spread=attributes.get("spread"),
            metric=metric,
            ceiling=attributes.get("ceiling_flops_per_second"),
            gradient=None if gradient is None else Gradient.from_json(gradient),
        )
    finished = trial.datetime_complete or datetime.fromtimestamp(0)
    return Evaluation(trial.number, probe, result, finished)


def _parameters(probe: Probe, space: SearchSpace | None) -> dict[str, float | str]:
    """The parameters of a trial, by name.

    They are all values of the generation strategy, and its searched choices. Where a model was
    trained for the evaluation, they are only the values that were searched.
    """
    training = None if probe.training is None else probe.training.strategy
    searched = {} if space is None else space.values_of(probe.strategy, training)
    if training is None:
        return {**probe.strategy.parameters(), **searched}
    return searched if space is not None else {**training.parameters()}


def _distributions(
    probe: Probe, parameters: dict[str, float | str], space: SearchSpace | None
) -> dict[str, BaseDistribution]:
    """The ranges that Optuna stores, and its dashboard shows, for the parameters.

    A range is widened to include its value, because the reference search exceeds the bounds. One
    that includes 0 has no log scale, and neither has that of a schedule that is not searched.
    """
    searched = {} if space is None else {d.name: d for d in space.dimensions}
    ranges: dict[str, BaseDistribution] = {}
    for name, value in parameters.items():
        dimension = searched.get(name)
        if dimension is not None and dimension.values:
            ranges[name] = CategoricalDistribution(dimension.values)
            continue
        number = float(value)
        if dimension is not None:
            bound = dimension.range
            low, log = min(bound.low, number), bound.log and number > 0
        else:
            bound, low, log = _usual_bound(probe, name), 0.0, False
        ranges[name] = FloatDistribution(low, max(bound.high, number), log=log)
    return ranges


def _usual_bound(probe: Probe, name: str) -> Bound:
    if probe.training is not None:
        return distribution(probe.training.strategy.mask_ratio_distribution).parameters[name]
    return SCHEDULES[name.rpartition("_")[0]].bound(1)


Pair = tuple[GenerationStrategy, TrainingStrategy | None]
"""A generation strategy, and the training of its model where one was trained for it."""


def pair_of(probe: Probe) -> Pair:
    """The strategies of a probe."""
    return probe.strategy, None if probe.training is None else probe.training.strategy


def same_strategies(ours: Pair, theirs: Pair) -> bool:
    """Whether pairs are equal up to the last digits of their values, in which machines may differ.

    Guidance floors are not compared: AutoNAT's search had another one in older records.
    """
    values = [{**g.parameters(), **(t.parameters() if t else {})} for g, t in (ours, theirs)]
    return ours[0].choices() == theirs[0].choices() and _close(*values)


def _close(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return ours.keys() == theirs.keys() and np.allclose(
        list(ours.values()), list(theirs.values()), rtol=1e-6, atol=1e-9
    )
