"""The controls of a search's final test: the best of them, and a strategy file for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.controls import BASELINES, best_control
from search.final_test import Control
from search.strategy_file import StrategyFile
from search.training_strategy import TrainingStrategy
from trials.objectives.known_files import protocol_without_folders, without_folders
from trials.record.kinds import as_reported
from trials.results.results import ControlsBeside, MethodResult, versions


def controls_beside(results: Sequence[MethodResult]) -> ControlsBeside:
    """The controls that the strategy files of a search name beside their own values."""
    named = {result.method: result for result in results if not result.searched}
    baseline = next((named[name] for name in BASELINES if name in named), None)
    return ControlsBeside(_as_control(baseline), _as_control(best_control(results)))


def control_file(
    settings: Mapping[str, Any], control: MethodResult, controls: ControlsBeside
) -> StrategyFile:
    """The strategy file of a control, with everything that decides its value.

    Args:
        settings: of one of the search's studies.
        control: the result of the control.
        controls: the baseline and the best control of the same final test.
    """
    settings = as_reported(settings)
    objective, training = settings["objective"], settings["training"]
    trained = None if training is None else TrainingStrategy.from_json(training)
    if control.checkpoint is not None:  # a model that the search trained
        own = {"checkpoint": control.checkpoint}
        steps = {"training_steps": settings["search"]["training_steps"]}
        objective = {**objective, **own, "settings": {**objective["settings"], **own, **steps}}
        trained = control.training
    return StrategyFile(
        generation=control.strategy,
        training=trained,
        objective=without_folders(objective),
        protocol=protocol_without_folders(settings["protocol"]),
        test=control.test,
        baseline=controls.baseline,
        best_control=controls.best,
        versions=versions(),
    )


def _as_control(control: MethodResult | None) -> Control | None:
    if control is None or control.test is None:
        return None
    return Control(control.method, control.test)
