"""Transfers a strategy that was found on one model to another model and to other T.

The other model is trained with the same training strategy, the schedules of the generation strategy
are interpolated to the other T (`with_steps` in search.strategy), and the result is measured. What
was lost shows in comparison with the rule of thumb on the same model, and with a search that starts
from the transferred strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.controls import RULE_OF_THUMB
from search.final_test import FinalTest
from search.progress import Report
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.objectives.description import describe
from trials.objectives.known_files import (
    protocol_without_folders,
    settings_here,
    without_folders,
)
from trials.objectives.measured import replicate
from trials.objectives.named_paths import with_absolute_paths
from trials.objectives.objective import (
    OBJECTIVES,
    TRAINED_BY,
    Objective,
    Trains,
    load_objective,
)

TRANSFERRED, REFINED = "transferred", "refined"


@dataclass(frozen=True)
class Transferred:
    """A strategy that was tested on the other model.

    Attributes:
        name: "rule of thumb", "transferred" or "refined".
        strategy: the strategy, at the other T.
        test: its final test, on seeds that no search used.
    """

    name: str
    strategy: GenerationStrategy
    test: FinalTest


def target_settings(
    file: StrategyFile, changes: Mapping[str, Any], record_url: str, folder: Path | None = None
) -> dict[str, Any]:
    """The objective's settings for the other model: those of the file, with the changes.

    Where the changes need a model with other weights, the file's own weights are left out, and the
    other model is trained with the file's training strategy.

    Args:
        file: of the strategy.
        changes: settings that differ on the other model.
        record_url: of the lab's record, which knows where the files are.
        folder: of the strategy file.

    Raises:
        ValueError: the file names no objective, or a change is not valid.
    """
    if file.objective is None:
        raise ValueError("the strategy file names no objective, so it cannot be transferred")
    name = str(file.objective["name"])
    settings = settings_here(file, record_url, changes, folder)
    changes = with_absolute_paths(OBJECTIVES.load(name), changes)
    without_weights = {key: value for key, value in settings.items() if key != "checkpoint"}
    if file.training is None or len(without_weights) == len(settings) or "checkpoint" in changes:
        return settings | changes
    ways = [load_objective(name, told) for told in (without_weights, without_weights | changes)]
    keys = [way.training_key(file.training, 0) for way in ways if isinstance(way, Trains)]
    if keys[0] == keys[-1] and not TRAINED_BY & changes.keys():
        return settings | changes
    return without_weights | file.training.to_json() | changes


def measure_transfer(
    file: StrategyFile,
    objective: Objective,
    steps: int,
    images: int,
    seeds: list[int],
    report: Report,
) -> list[Transferred]:
    """Measure the rule of thumb and the transferred strategy on a prepared model.

    Raises:
        ValueError: there are more steps than tokens, or an evaluation failed.
    """
    found = []
    strategies = {
        RULE_OF_THUMB: GenerationStrategy.maskgit(steps),
        TRANSFERRED: file.generation.with_steps(steps),
    }
    for name, strategy in strategies.items():
        test, _ = replicate(objective, strategy, images, seeds, report)
        found.append(Transferred(name, strategy, test))
    return found


def transferred_file(
    file: StrategyFile, objective: Objective, settings: Mapping[str, Any], at: Transferred
) -> StrategyFile:
    """The strategy file of a transferred strategy, with the other model as its objective."""
    described = describe(str((file.objective or {})["name"]), settings, objective)
    return StrategyFile(
        generation=at.strategy,
        training=file.training,
        objective=without_folders(described["objective"]),
        protocol=protocol_without_folders(described["protocol"]),
        test=at.test,
    )


def gaps_kept(found: Sequence[Transferred]) -> list[float | None]:
    """The share of the gap that each strategy closes, at one T.

    The gap is that between the rule of thumb, which comes first, and the lowest value.

    Returns:
        The shares, or None for each where no strategy is below the rule of thumb.
    """
    rule, best = found[0].test.value, min(row.test.value for row in found)
    if best >= rule:
        return [None] * len(found)
    return [(rule - row.test.value) / (rule - best) for row in found]
