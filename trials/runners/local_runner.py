"""Runs jobs one after the other in this process, for debugging."""

from __future__ import annotations

from search.optimiser import DONE
from trials.objectives.measured import Measures, evaluate_probe
from trials.objectives.objective import Objective
from trials.runners.study import Job, Source


def run_local(source: Source, objective: Objective | Measures) -> None:
    """Run the jobs of a source until there are none left.

    Raises:
        ValueError: a result cannot be recorded.
    """
    while (job := source.next()) is not DONE:
        if isinstance(job, Job):
            job.finish(evaluate_probe(objective, job.probe))
