"""Objectives, prepared: what they train or load is there before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.progress import Progress, Report
from search.user_code import explained
from trials.objectives.objective import Objective, Prepares, load_objective


def prepare(objective: Objective, lab: Path, report: Report) -> None:
    """Let an objective do what it does before its first evaluation, if anything.

    Raises:
        ValueError: it cannot.
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
    """An objective, made unless it is given, and prepared in a lab's folder.

    Raises:
        ValueError: there is none of that name, or settings that are not valid, or it cannot.
    """
    objective = load_objective(name, settings) if objective is None else objective
    prepare(objective, lab, progress.report(f"preparing {name}"))
    return objective
