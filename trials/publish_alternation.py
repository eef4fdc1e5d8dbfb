"""Writes what came of an alternation for people: its report, and its run in MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from dashboards.report import write_report
from trials.alternation import Round
from trials.lab import Lab
from trials.mirror import Mirror
from trials.objective import Objective
from trials.publish import facts_of, trainings, with_samples
from trials.results import MethodResult, method_results
from trials.search_run import START, search_records
from trials.settings import SearchSettings


def publish_alternation(
    lab: Lab, settings: SearchSettings, rounds: list[Round], objective: Objective, mirror: Mirror
) -> tuple[list[MethodResult], Path]:
    """Write the report of an alternation, and complete the run above its searches in MLflow.

    Args:
        lab: of the project.
        settings: of the alternation.
        rounds: at least one.
        objective: what was trained.
        mirror: not in use by another thread.

    Returns:
        The state before, and each round's winner; and the report's path.

    Raises:
        ValueError: the report cannot be written.
    """
    name = settings.full_name()
    trained = [search_records(lab, r.training) for r in rounds]
    before = next(r for r in method_results(trained[0]) if r.method == START)
    results = [dataclasses.replace(before, method="before")]
    for number, round_ in enumerate(rounds, 1):
        found = method_results(search_records(lab, round_.generation))
        results.append(
            dataclasses.replace(
                next(result for result in found if result.searched),
                method=f"round {number}",
                training=round_.best.training,
                checkpoint=(round_.best.objective or {}).get("checkpoint"),
            )
        )
    described = trained[0][0].settings
    report = write_report(
        lab.results(name) / "report.html",
        [with_samples(result, objective, lab) for result in results],
        title=f"autonat: {name}",
        tokens=described["objective"]["tokens"],
        facts=facts_of(described),
        trainings=trainings(dict(enumerate(trained, 1))),
    )
    with contextlib.suppress(ValueError):  # sync completes it
        complete_alternation(lab, name, rounds, mirror)
    return results, report


def complete_alternation(lab: Lab, name: str, rounds: list[Round], mirror: Mirror) -> None:
    """Bring the run above an alternation's searches up to date, and end it.

    Raises:
        ValueError: MLflow does not answer.
    """
    tests = [round_.best.test.fid for round_ in rounds if round_.best.test is not None]
    files = [lab.results(name) / file for file in ("best.json", "report.html")]
    present = [file for file in files if file.exists()]
    mirror.finish_alternation(name, present, {"test_fid": tests})
