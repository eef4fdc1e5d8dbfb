"""Writes what came of a search for people: strategy files, the report, MLflow's parent runs.

Belongs to the command line: it looks up at dashboards, as nothing else on this floor does.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials.anchors import Anchor, note_anchors, recorded_anchors
from trials.controls import control_file, controls_beside
from trials.failures import nothing_measured
from trials.lab import Lab, file_name
from trials.objective import Objective, Samples, Trains
from trials.record import Record
from trials.results import MethodResult, method_results, strategy_file
from trials.storage import without_password

if TYPE_CHECKING:
    from dashboards.report import Trainings
    from trials.mirror import Mirror

SAMPLES, SAMPLE_SEED = 40, 0


@dataclass(frozen=True)
class Published:
    """A search's results and where they lie.

    Attributes:
        results: one a method and control.
        best: the strategy file of the search with the lowest final test.
        report: the HTML report.
        behind: evaluations that MLflow does not have yet.
        first: names of the strategies that every method measured first, if they were told to.
        anchors: what stands beside the results, so that they can be judged.
        notes: what could not be had, and why.
    """

    results: list[MethodResult]
    best: Path
    report: Path
    behind: int
    first: tuple[str, ...] = ()
    anchors: list[Anchor] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def publish(
    lab: Lab, name: str, records: list[Record], objective: Objective, mirror: Mirror
) -> Published:
    """Write strategy files and report below the lab, and complete MLflow.

    Args:
        lab: of the project.
        name: of the search.
        records: its studies.
        objective: prepared; its samples go into the report.
        mirror: not in use by another thread.

    Raises:
        ValueError: no search has a measurement, or a file cannot be written.
    """
    from dashboards.report import write_report

    folder = lab.results(name)
    results = [with_samples(result, objective, lab) for result in method_results(records)]
    by_method = {result.method: result for result in results}
    searches = [record for record in records if record.settings["kind"] == "search"]
    _try_sync(mirror, records)
    files: dict[str, Path] = {}
    beside = controls_beside(results)
    for record in searches:
        optimiser = record.settings["optimiser"]
        if optimiser not in by_method:
            continue
        run = {
            "tracking_uri": without_password(lab.tracking_uri),
            "run_id": mirror.parent(record),
        }
        files[optimiser] = folder / file_name(optimiser)
        strategy_file(record, by_method[optimiser], run, beside).write(files[optimiser])
    if not files:
        raise nothing_measured(name, searches)
    settings = searches[0].settings
    for result in results:
        if not result.searched:
            control_file(settings, result, beside).write(folder / file_name(result.method))
    notes = try_anchors(records, objective)
    anchors = recorded_anchors(records)
    report = write_report(
        folder / "report.html",
        results,
        title=f"autonat: {name}",
        tokens=settings["objective"]["tokens"],
        facts=facts_of(settings),
        trainings=trainings({1: searches}),
        anchors=anchors,
    )
    behind = complete(lab, name, records, mirror)
    # Last, for it says that a search has been published.
    best = min(files, key=lambda method: _rank(by_method[method]))
    partial = folder / "best.json.partial"
    shutil.copyfile(files[best], partial)
    os.replace(partial, folder / "best.json")
    first = tuple(settings.get("first", ()))
    return Published(results, folder / "best.json", report, behind, first, anchors, notes)


def try_anchors(records: list[Record], objective: Objective) -> tuple[str, ...]:
    """Measure and record what needs no generator; a note where that cannot be."""
    try:
        note_anchors(records, objective)
    except Exception as error:  # whatever an objective of somebody's own does
        return (f"the FIDs of real images and of a constant image are not known: {error}",)
    return ()


def complete(lab: Lab, name: str, records: list[Record], mirror: Mirror) -> int:
    """Bring MLflow up to a search's records, with its files, weights and final numbers.

    Returns:
        How many evaluations MLflow does not have, because it did not answer.
    """
    folder, behind = lab.results(name), 0
    by_method = {result.method: result for result in method_results(records)}
    for record in records:
        files = [folder / file_name(str(record.settings.get("optimiser"))), folder / "report.html"]
        files += _weights(lab, record, by_method)
        try:
            present = [file for file in files if file.exists()]
            mirror.finish(record, present, _metrics(record, by_method))
        except ValueError:
            behind += mirror.behind(record)
    return behind


def _rank(result: MethodResult) -> float:
    return result.fid if math.isfinite(result.fid) else math.inf


def trainings(rounds: dict[int, list[Record]]) -> Trainings | None:
    """The trainings of an alternation's rounds, or of one search."""
    import pandas as pd

    from dashboards.report import Trainings

    tables = [
        record.frame().assign(round=number)
        for number, records in rounds.items()
        for record in records
        if record.settings["kind"] == "search"
        and record.settings["search"].get("what", "generation") != "generation"
    ]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True)
    family = next(iter(rounds.values()))[0].settings["search"]["mask_ratio_distribution"]
    return Trainings(family, table if len(rounds) > 1 else table.drop(columns="round"))


def _weights(lab: Lab, record: Record, results: dict[str, MethodResult]) -> list[Path]:
    """The file of the weights that a search trained for its winner, if it did."""
    result = results.get(record.settings.get("optimiser", ""))
    if result is None or result.checkpoint is None:
        return []
    from models.checkpoints import WEIGHTS, stored_folder

    return [stored_folder(lab.folder, result.checkpoint) / WEIGHTS]


def with_samples(result: MethodResult, objective: Objective, lab: Lab) -> MethodResult:
    """A result with the first images of its strategy, by its own model where one was trained for
    it; without them where that training failed."""
    if result.checkpoint is not None and isinstance(objective, Trains):
        objective = objective.with_checkpoint(lab.folder, result.checkpoint)
    elif result.training is not None:
        return result
    if not isinstance(objective, Samples):
        return result
    images = objective.sample(result.strategy, SAMPLES, SAMPLE_SEED)
    return dataclasses.replace(result, samples=images)


def _try_sync(mirror: Mirror, records: list[Record]) -> None:
    for record in records:
        try:
            mirror.sync(record)
        except ValueError:
            return  # a store that is away costs one time-out, not one a study


def _metrics(record: Record, results: dict[str, MethodResult]) -> dict[str, float]:
    """A parent run's own numbers."""
    result = results.get(record.settings.get("optimiser", ""))
    if result is None:
        return {}
    values = {
        "test_fid": result.fid,
        "test_fid_se": math.nan if result.fid_se is None else result.fid_se,
        "search_fid": math.nan if result.search_fid is None else result.search_fid,
        "forward_passes": result.forward_passes,
        "flops": math.nan if result.flops is None else result.flops,
        "images": result.images,
        "converged": math.nan if result.converged is None else result.converged,
    }
    return {key: value for key, value in values.items() if math.isfinite(value)}


def _budget(search: dict[str, Any]) -> str:
    n = f"{search['images_per_evaluation']:,}"
    if search.get("what", "generation") == "generation":
        return f"{search['budget']:,} images a method, {n} an evaluation"
    return (
        f"{search['training_budget']:,} training steps a method, {search['training_steps']:,} a "
        f"model, {n} images an evaluation"
    )


def facts_of(settings: dict[str, Any]) -> dict[str, str]:
    """What the report says first."""
    objective, protocol, search = (settings[k] for k in ("objective", "protocol", "search"))
    facts = {
        "objective": str(objective["name"]),
        "data": objective["dataset"],
        "checkpoint": objective["checkpoint"],
        "steps": f"T = {search['steps']}, {objective['tokens']} tokens an image",
        "budget": _budget(search),
        "first strategies": ", ".join(settings["first"]) if "first" in settings else None,
        "search seed": str(search["seed"]),
        "features": protocol["features"],
        "quantisation": protocol["quantisation"],
        "classes": protocol["classes"],
        "reference statistics": protocol["reference_statistics_hash"],
    }
    return {key: str(value) for key, value in facts.items() if value is not None}
