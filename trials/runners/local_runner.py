"""Runs jobs in this process, for debugging, and for a single GPU."""

from __future__ import annotations

from search.optimiser import DONE
from trials.objectives.measured import Measures, evaluate_probes
from trials.objectives.objective import Objective
from trials.runners.study import Job, Source, finish_all, more_jobs


def run_local(source: Source, objective: Objective | Measures, together: int = 1) -> None:
    """Run the jobs of a source until there are none left.

    Args:
        source: the source of jobs.
        objective: a prepared objective, or a trainer.
        together: jobs that are measured at once, >= 1; fewer where the source waits for results.

    Raises:
        ValueError: a result cannot be recorded.
    """
    while (job := source.next()) is not DONE:
        if isinstance(job, Job):
            jobs = [job, *more_jobs(source, together - 1)]
            finish_all(jobs, evaluate_probes(objective, [job.probe for job in jobs]))
