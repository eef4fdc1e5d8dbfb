"""Writes what came of an alternation for people: its report, and its run in MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from trials.lab import Lab
from trials.objectives.objective import Objective
from trials.publishing.publish import (
    UNMADE,
    Note,
    Published,
    Show,
    attempt,
    report_of,
)
from trials.record.searches import search_records
from trials.results.anchors import recorded_anchors
from trials.results.rounds import Round, round_results
from trials.tracking.mirror import Mirror


def publish_alternation(
    lab: Lab,
    name: str,
    rounds: list[Round],
    objective: Callable[[], Objective],
    mirror: Mirror,
    show: Show,
    note: Note,
) -> Published:
    """Show what came of an alternation, whose best.json is written; then write its report, and
    complete the run above its searches in MLflow.

    Args:
        lab: of the project.
        name: of the alternation.
        rounds: at least one.
        objective: makes what was trained.
        mirror: not in use by another thread.
        show: called first.
        note: told what of the rest could not be made.

    Returns:
        Its results are the state before, and each round's winner; behind are its searches', not
        the alternation itself.
    """
    trained = [search_records(lab.record_url, r.training) for r in rounds]
    results = round_results(lab, rounds)
    anchors = recorded_anchors(search_records(lab.record_url, rounds[0].generation))
    best = lab.results(name) / "best.json"
    published = Published(results, best, None, 0, anchors=anchors)
    show(published)
    made = attempt(UNMADE, objective, note)
    report = report_of(lab, name, published, made, dict(enumerate(trained, 1)), note)
    with contextlib.suppress(ValueError):  # sync completes it
        complete_alternation(lab, name, rounds, mirror)
    return dataclasses.replace(published, report=report)


def complete_alternation(lab: Lab, name: str, rounds: list[Round], mirror: Mirror) -> None:
    """Bring the run above an alternation's searches up to date, and end it.

    Raises:
        ValueError: MLflow does not answer.
    """
    tests = [round_.best.test.value for round_ in rounds if round_.best.test is not None]
    files = [lab.results(name) / file for file in ("best.json", "report.html")]
    present = [file for file in files if file.exists()]
    mirror.finish_alternation(name, present, {"test_fid": tests})
