"""Writes what came of an alternation for people: its report, and its run in MLflow."""

from __future__ import annotations

import contextlib
from pathlib import Path

from dashboards.report import write_report
from trials.alternation import Round, round_results
from trials.anchors import Anchor, recorded_anchors
from trials.lab import Lab
from trials.mirror import Mirror
from trials.objective import Objective
from trials.publish import facts_of, trainings, with_samples
from trials.results import MethodResult
from trials.search_run import search_records
from trials.settings import SearchSettings


def publish_alternation(
    lab: Lab, settings: SearchSettings, rounds: list[Round], objective: Objective, mirror: Mirror
) -> tuple[list[MethodResult], list[Anchor], Path]:
    """Write the report of an alternation, and complete the run above its searches in MLflow.

    Args:
        lab: of the project.
        settings: of the alternation.
        rounds: at least one.
        objective: what was trained.
        mirror: not in use by another thread.

    Returns:
        The state before, and each round's winner; what stands beside them; the report's path.

    Raises:
        ValueError: the report cannot be written.
    """
    name = settings.full_name()
    trained = [search_records(lab, r.training) for r in rounds]
    results = round_results(lab, rounds)
    anchors = recorded_anchors(search_records(lab, rounds[0].generation))
    described = trained[0][0].settings
    report = write_report(
        lab.results(name) / "report.html",
        [with_samples(result, objective, lab) for result in results],
        title=f"autonat: {name}",
        tokens=described["objective"]["tokens"],
        facts=facts_of(described),
        trainings=trainings(dict(enumerate(trained, 1))),
        anchors=anchors,
    )
    with contextlib.suppress(ValueError):  # sync completes it
        complete_alternation(lab, name, rounds, mirror)
    return results, anchors, report


def complete_alternation(lab: Lab, name: str, rounds: list[Round], mirror: Mirror) -> None:
    """Bring the run above an alternation's searches up to date, and end it.

    Raises:
        ValueError: MLflow does not answer.
    """
    tests = [round_.best.test.fid for round_ in rounds if round_.best.test is not None]
    files = [lab.results(name) / file for file in ("best.json", "report.html")]
    present = [file for file in files if file.exists()]
    mirror.finish_alternation(name, present, {"test_fid": tests})
