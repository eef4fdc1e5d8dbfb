"""Publishes the results of a search: strategy files, the report, and its runs in MLflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.controls import or_last
from search.sensitivity import Sensitivity
from search.strategy_file import StrategyFile
from trials.lab import Lab, find_strategy, former_strategy_path, strategy_path
from trials.objectives.objective import Objective
from trials.objectives.pictures import ClassGrid
from trials.publishing.attempts import Note, attempt
from trials.publishing.facts import facts_of, speed_facts
from trials.publishing.mlflow_runs import complete
from trials.publishing.optuna_notes import annotate
from trials.publishing.pictures import write_pictures
from trials.publishing.provenance import provenance, unfinished
from trials.publishing.sampling import real_images, with_pictures
from trials.record.databases import sqlite_file, without_password
from trials.record.failures import nothing_measured
from trials.record.kinds import SEARCH, what_is_searched
from trials.record.record import Record
from trials.results.anchors import Anchor, note_anchors, recorded_anchors
from trials.results.controls import control_file, controls_beside
from trials.results.results import MethodResult, method_results, strategy_file
from trials.results.sensitivity import Importance, winners_sensitivity

if TYPE_CHECKING:
    from dashboards.report import Trainings
    from trials.tracking.mirror import Mirror

UNMADE = "the report has no samples, because the objective could not be made again"
UNANCHORED = "the values of real images and of a constant image could not be measured"
UNEXPLAINED = "the report does not show how sensitive the winner is"
UNREPORTED = "the report could not be written"
UNDRAWN = "the pictures for MLflow and Optuna could not be drawn"
UNNOTED = "Optuna's dashboard has no notes"


@dataclass(frozen=True)
class Published:
    """The published results of a search.

    Attributes:
        results: one for each method and control.
        best: the path of the strategy file with the lowest final test.
        report: the path of the HTML report; None where it could not be written.
        behind: how many evaluations MLflow does not have yet.
        first: names of the strategies that every method measured first, where all did so.
        anchors: reference values by which the results can be judged.
        real: real images to be shown beside samples, where they are known.
    """

    results: list[MethodResult]
    best: Path
    report: Path | None
    behind: int
    first: tuple[str, ...] = ()
    anchors: list[Anchor] = field(default_factory=list)
    real: ClassGrid | None = None


Show = Callable[[Published], None]
"""Called with the results as soon as their strategy files are written, before optional results."""


def show_nothing(published: Published) -> None:
    """A `Show` that shows nothing, for callers that show the results themselves."""


def publish(
    lab: Lab,
    name: str,
    records: list[Record],
    objective: Callable[[], Objective],
    mirror: Mirror,
    show: Show,
    note: Note,
) -> Published:
    """Write the strategy files of a search and show its results; then make the optional results.

    Each optional result is made on its own: the reference values, samples, the report, MLflow's
    runs. A failure of one becomes a note.

    Args:
        lab: the lab to publish in.
        name: of the search.
        records: of its studies.
        objective: returns the prepared objective, whose samples go into the report.
        mirror: of the search, not in use by another thread.
        show: called when the strategy files are written and the reference values are known.
        note: called with a line for each optional result that could not be made.

    Raises:
        ValueError: no evaluation succeeded, or a strategy file cannot be written.
    """
    results = method_results(records)
    searches = [record for record in records if record.settings["kind"] == SEARCH]
    if not any(result.searched for result in results):
        raise nothing_measured(name, searches)
    settings = searches[0].settings
    best, first = lab.results(name) / "best.json", tuple(settings.get("first", ()))
    made: Objective | None = None
    try:
        _write_strategies(lab, name, records, results, mirror)
        made = attempt(UNMADE, objective, note)
        if made is not None:
            attempt(UNANCHORED, partial(note_anchors, records, made), note)
    finally:
        published = Published(results, best, None, 0, first, recorded_anchors(records))
        show(published)
    away = _try_sync(mirror, records)
    runs = "the strategy files could not be updated with their runs in MLflow"
    attempt(runs, lambda: _write_strategies(lab, name, records, results, mirror), note)
    shown = with_pictures(results, made, lab, note)
    published = dataclasses.replace(published, results=shown, real=real_images(made, note))
    attempt(UNDRAWN, lambda: write_pictures(lab, name, shown, published.real), note)
    sensitivity = attempt(UNEXPLAINED, lambda: _sensitivity(searches, shown), note)
    report = report_of(lab, name, published, {1: searches}, note, sensitivity)
    attempt(UNNOTED, lambda: annotate(lab, name, records, shown, published.anchors), note)
    behind = sum(map(mirror.behind, records))
    if away is None:
        complete(lab, name, records, mirror, note)
    elif not behind:  # otherwise the caller reports how far behind it is
        note(f"{away}; autonat sync completes it")
    return dataclasses.replace(published, report=report, behind=behind)


def report_of(
    lab: Lab,
    name: str,
    published: Published,
    rounds: dict[int, list[Record]],
    note: Note,
    sensitivity: Sensitivity | Importance | str | None = None,
    halves: Sequence[Record] = (),
    lacking: str | None = None,
) -> Path | None:
    """Write the report of a search, or of the rounds of an alternation.

    Args:
        lab: the lab to write it in.
        name: of the search or alternation.
        published: its results, with samples where there are any.
        rounds: the records of its studies by round; one search is round 1.
        note: called with a line where the report could not be made.
        sensitivity: of the winner, or why it is not known.
        halves: of an alternation, the records of its other studies.
        lacking: what an alternation that is not finished lacks, in a sentence.

    Returns:
        The path of the report, or None where it could not be written.
    """
    from dashboards.report import write_report

    settings, searches = rounds[1][0].settings, [r for of in rounds.values() for r in of]
    best = lab.results(name) / "best.json"
    return attempt(
        UNREPORTED,
        lambda: write_report(
            lab.make_results(name) / "report.html",
            published.results,
            title=f"autonat: {name}",
            tokens=settings["objective"]["tokens"],
            facts=facts_of(settings) | speed_facts(searches),
            trainings=trainings(rounds),
            anchors=published.anchors,
            unfinished=lacking or unfinished(name, published.results, searches),
            provenance=provenance(name, [*searches, *halves], best.exists()),
            strategy_file=best.read_text(encoding="utf-8") if best.exists() else None,
            real_images=published.real,
            sensitivity=sensitivity,
        ),
        note,
    )


def _sensitivity(
    searches: list[Record], results: list[MethodResult]
) -> Sensitivity | Importance | str:
    """The sensitivity of the winner, or why the record does not tell it."""
    try:
        return winners_sensitivity(searches, results)
    except ValueError as error:
        return str(error)


def _write_strategies(
    lab: Lab, name: str, records: list[Record], results: list[MethodResult], mirror: Mirror
) -> None:
    """Write a strategy file for each method and control, and best.json."""
    folder = lab.make_results(name)
    by_method = {result.method: result for result in results}
    beside = controls_beside(results)
    written: dict[str, StrategyFile] = {}
    for record in records:
        method = record.settings.get("optimiser")
        if record.settings["kind"] == SEARCH and method in by_method:
            run = {"tracking_uri": _tracking_address(lab), "run_id": mirror.parent(record)}
            file = strategy_file(record, by_method[method], run, beside)
            written[method] = file
    best = min(written, key=lambda method: or_last(by_method[method].value))
    for result in results:
        if not result.searched:
            written[result.method] = control_file(records[0].settings, result, beside)
    last = max(e.finished for record in records for e in record.evaluations)
    written = {
        method: dataclasses.replace(
            _with_what_is_known(file, find_strategy(folder, method)), date=last.date().isoformat()
        )
        for method, file in written.items()
    }
    try:
        for method, file in written.items():
            path, former = strategy_path(folder, method), former_strategy_path(folder, method)
            file.write(path)
            if former != path:
                former.unlink(missing_ok=True)
        # Last, because best.json marks the search as published.
        written[best].write(folder / "best.json")
    except OSError as error:
        raise ValueError(
            f"results {folder}: {error.strerror}; the record holds everything, and autonat report "
            f"{name} writes them"
        ) from None


def _with_what_is_known(file: StrategyFile, path: Path) -> StrategyFile:
    """Keep what the file on disk knows better, if it holds the same strategy.

    Its MLflow run is kept where the new file names none: MLflow may not have answered. The hashes
    of the objective's files are kept with the final test, because a file that was replaced since
    is not the one that was measured.
    """
    try:
        before = StrategyFile.read(path) if path.is_file() else None
    except ValueError:  # not a strategy file; it will be overwritten
        return file
    if before is None or before.generation != file.generation:
        return file
    told, known = file.mlflow or {}, before.mlflow or {}
    if told.get("run_id") is None and known.get("tracking_uri") == told.get("tracking_uri"):
        file = dataclasses.replace(file, mlflow=before.mlflow)
    objective, hashes = file.objective, (before.objective or {}).get("files")
    if objective is not None and hashes is not None and before.test == file.test is not None:
        kept = {name: hashes.get(name) or now for name, now in objective["files"].items()}
        file = dataclasses.replace(file, objective={**objective, "files": kept})
    return file


def _tracking_address(lab: Lab) -> str:
    """The address of MLflow for a strategy file.

    The address of a store in the lab, which may be moved, is relative to the lab; of another file
    it is only the name.
    """
    file = sqlite_file(lab.tracking_uri)
    if file is not None:
        place = file.resolve()
        own = place.relative_to(lab.folder) if lab.holds_tracking else place.name
        return f"sqlite:///{own}"
    return without_password(lab.tracking_uri)


def trainings(rounds: dict[int, list[Record]]) -> Trainings | None:
    """The trainings of an alternation's rounds, or of one search; None where nothing was
    trained."""
    import pandas as pd

    from dashboards.report import Trainings

    tables = [
        record.frame().assign(round=number)
        for number, records in rounds.items()
        for record in records
        if record.settings["kind"] == SEARCH and what_is_searched(record.settings) != "generation"
    ]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True)
    family = next(iter(rounds.values()))[0].settings["search"]["mask_ratio_distribution"]
    return Trainings(family, table if len(rounds) > 1 else table.drop(columns="round"))


def _try_sync(mirror: Mirror, records: list[Record]) -> str | None:
    """Bring MLflow up to date, stopping at the first error.

    A store that does not answer costs one time-out, not one for each study.

    Returns:
        The error, or None.
    """
    try:
        for record in records:
            mirror.sync(record)
    except ValueError as error:
        return str(error)
    return None
