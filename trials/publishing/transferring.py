"""Runs a transfer: tests a strategy on another model and at other T, and refines it there.

How a strategy is transferred, and what it is compared with, is in `trials.searches.transfer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.training.checkpoints import settings_hash
from search.strategy import require_steps
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.objective import Objective, load_objective
from trials.objectives.preparing import prepare
from trials.progress import LiveProgress
from trials.publishing.attempts import Note
from trials.publishing.publish import show_nothing
from trials.publishing.run import search_and_publish
from trials.record.searches import has_begun, has_finished
from trials.searches.launch import check
from trials.searches.reading import read_settings
from trials.searches.resuming import resumed_settings
from trials.searches.setting_groups import WhereItRuns
from trials.searches.settings import SearchSettings
from trials.searches.transfer import (
    REFINED,
    Transferred,
    measure_transfer,
    target_settings,
    transferred_file,
)


@dataclass(frozen=True)
class TransferSettings:
    """How a transferred strategy is tested and refined.

    Attributes:
        test_images: images of the final test, for each seed.
        test_seeds: seeds of the final test.
        budget: images of the search that refines the transferred strategy; None refines nothing.
        images_per_evaluation: images that measure one strategy of that search.
        workers: evaluations of that search at the same time; None takes its default.
    """

    test_images: int
    test_seeds: list[int]
    budget: int | None
    images_per_evaluation: int
    workers: int | None


def transfer_and_refine(
    file: StrategyFile,
    changes: Mapping[str, Any],
    lengths: Sequence[int],
    settings: TransferSettings,
    lab: Lab,
    progress: LiveProgress,
    note: Note,
    folder: Path | None = None,
) -> dict[int, list[Transferred]]:
    """Measure a strategy on another model and at other T, and refine it there if a budget is given.

    Args:
        file: of the strategy; it names an objective.
        changes: settings of the objective that differ on the other model.
        lengths: the values of T.
        settings: of the test and the refinement.
        lab: where models, refinements and results are kept.
        progress: not entered yet.
        note: called with a line for each optional result of a refinement that is missing.
        folder: of the strategy file, where files of its objective may lie.

    Returns:
        By T: the rule of thumb, the transferred strategy and, where there is one, the refined one.

    Raises:
        ValueError: a setting is not valid, or an evaluation failed.
        KeyboardInterrupt: a refinement was interrupted; the same call resumes it.
    """
    values = target_settings(file, changes, lab.record_url, folder)
    name = str((file.objective or {})["name"])
    objective = load_objective(name, values)
    # A refinement is named by these settings and by its start, so that it is made only once.
    problem: dict[str, Any] = {
        "objective": name,
        "objective_settings": values,
        "budget": settings.budget,
        "images_per_evaluation": settings.images_per_evaluation,
        "test_images": settings.test_images,
        "test_seeds": settings.test_seeds,
    }
    searched = (file.search or {}).get("metric")
    if searched is not None and "metric" not in changes:  # the file's settings name the test's
        problem["test_metric"] = values.get("metric")
        problem["objective_settings"] = {**values, "metric": searched}
    where = {"lab": lab.folder, "workers": settings.workers}
    given = {key: value for key, value in (problem | where).items() if value is not None}
    for steps in lengths:
        require_steps(steps, objective.tokens)
        if settings.budget is not None:
            check(read_settings(given | {"steps": steps}).completed(), objective, lab)
    rows = _measured(file, objective, lengths, settings, lab, progress)
    for steps, found in rows.items() if settings.budget is not None else ():
        own = transferred_file(file, objective, values, found[-1])
        key = settings_hash(problem | {"generation": own.generation.to_json()})[:8]
        start = lab.make_results("transfer") / f"T{steps}-{key}.json"
        own.write(start)
        more = {"name": f"transfer-T{steps}-{key}", "steps": steps, "start": start}
        refinement = refined(read_settings(given | more), lab, progress.fresh(), note)
        if refinement is None:
            raise KeyboardInterrupt
        found.append(refinement)
    return rows


def _measured(
    file: StrategyFile,
    objective: Objective,
    lengths: Sequence[int],
    settings: TransferSettings,
    lab: Lab,
    progress: LiveProgress,
) -> dict[int, list[Transferred]]:
    """The rule of thumb and the transferred strategy at each T."""
    rows: dict[int, list[Transferred]] = {}
    with progress:
        name = str((file.objective or {})["name"])
        prepare(objective, lab.folder, progress.report(f"preparing {name}"))
        for steps in lengths:
            report = progress.report(f"transfer to T = {steps}")
            rows[steps] = measure_transfer(
                file, objective, steps, settings.test_images, settings.test_seeds, report
            )
    return rows


def refined(
    settings: SearchSettings, lab: Lab, progress: LiveProgress, note: Note
) -> Transferred | None:
    """The best strategy of a search that starts from the transferred one.

    The result of a search that is finished is only read.

    Returns:
        The strategy, or None if the search was interrupted.
    """
    name = settings.full_name()
    best = lab.results(name) / "best.json"
    if not (best.exists() and has_finished(lab.record_url, name)):
        resume = has_begun(lab.record_url, name)
        if resume:
            here = settings.model_dump(include={*WhereItRuns.model_fields}, exclude_none=True)
            settings = resumed_settings(name, here, None)
        published = search_and_publish(
            settings.completed(), resume=resume, progress=progress, show=show_nothing, note=note
        )
        if published is None:
            return None
    file = StrategyFile.read(best)
    if file.test is None:
        raise ValueError(f"{best}: no final test")
    return Transferred(REFINED, file.generation, file.test)
