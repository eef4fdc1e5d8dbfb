"""A search without a lab: its record lies in a folder that is removed at its end."""

from __future__ import annotations

import tempfile

from search.dimensions import SearchSpace
from search.optimiser import Optimiser
from trials.objectives.objective import Objective
from trials.record.best import Best
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Study


def search_alone(
    optimiser: Optimiser, space: SearchSpace, evaluations: int, objective: Objective
) -> Best:
    """Run a search in this process, and return what it finds.

    Args:
        optimiser: a fresh one.
        space: what it searches.
        evaluations: how many it asks for.
        objective: a prepared one.

    Raises:
        RuntimeError: every evaluation failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        described = dict(objective.describe())  # its metric, above all
        record = Record.create(f"sqlite:///{folder}/record.db", "search", described)
        run_local(Study(optimiser, record, space, evaluations, lambda _: None), objective)
        best = record.best()
    if best is None:
        raise RuntimeError("nothing was measured")
    return best
