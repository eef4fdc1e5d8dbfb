"""Writes what came of an alternation for people: its report, and its run in MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
import math
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
    fids = {"test_fid": [r.fid for r in results[1:] if math.isfinite(r.fid)]}
    with contextlib.suppress(ValueError):  # sync completes it
        mirror.finish_alternation(name, [lab.results(name) / "best.json", report], fids)
    return results, report
