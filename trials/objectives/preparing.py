"""Prepares objectives: they train or load what they need before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.progress import Progress, Report
from search.user_code import explained
from trials.objectives.objective import Objective, Prepares, load_objective


def prepare(objective: Objective, lab: Path, report: Report) -> None:
    """Call an objective's `prepare`, if it has one.

    Args:
        objective: to prepare.
        lab: the folder of the lab.
        report: called with the progress.

    Raises:
        ValueError: the objective cannot be prepared; the line says why.
    """
    if isinstance(objective, Prepares):
        made_by = type(objective)
        what = f"objective {made_by.__module__}:{made_by.__name__}, in prepare()"
        with explained(what, made_by):
            objective.prepare(lab, report)


def prepared(
    name: str,
    settings: Mapping[str, Any],
    lab: Path,
    progress: Progress,
    objective: Objective | None = None,
) -> Objective:
    """Make an objective and prepare it in a lab's folder.

    Args:
        name: of the objective.
        settings: of the objective.
        lab: the folder of the lab.
        progress: shows the progress.
        objective: an instance to prepare in place of making one.

    Raises:
        ValueError: the name is unknown, a setting is not valid, or the preparation failed.
    """
    objective = load_objective(name, settings) if objective is None else objective
    prepare(objective, lab, progress.report(f"preparing {name}"))
    return objective
