"""Runs jobs on Ray Tune, on this machine or on a cluster.

Every worker is one actor, which keeps the objective loaded and gets one trial after the other
(`reuse_actors`): a probe, or several that are measured at once. Tune asks for jobs through a
Searcher, which answers None while the optimiser waits. A search is resumed from the record; Tune's
own files are not needed.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from search.ledger import amount_asked
from search.measurement import Failure
from search.optimiser import DONE, Signal
from search.user_code import import_module
from trials.objectives.measured import Measures
from trials.objectives.objective import Objective
from trials.record.evaluation import probe_to_json
from trials.runners.evaluation_trial import AMOUNT, METRIC, EvaluationTrial, read_outcomes
from trials.runners.ray_session import last_line, ray_session
from trials.runners.study import Job, Source, finish_all, more_jobs
from trials.runners.tune_repairs import LOW_MEMORY, repaired_tune

WORKER_RETRIES = 3
"""How often a probe is retried after its worker died, before it counts as failed."""


@dataclass(frozen=True)
class RaySettings:
    """How the work is distributed.

    Attributes:
        workers: evaluations at the same time, >= 1.
        gpus_per_trial: GPUs that each evaluation uses, >= 0; a fraction shares a GPU.
        address: of a running cluster ("auto", HOST:PORT, ray://…); None starts Ray on this machine.
        rungs: growing n, or training steps, of a search's evaluations; at each but the last,
            Ray's ASHA stops the worse half. None measures only once, at the end.
        time_limit: seconds of an evaluation, or of a rung, after which its worker is killed.
        together: evaluations that a worker measures at once, >= 1; with rungs 1.
    """

    workers: int
    gpus_per_trial: float
    address: str | None
    rungs: tuple[int, ...] | None = None
    time_limit: float | None = None
    together: int = 1


class JobSearcher(Searcher):
    """A source of jobs as Tune's search algorithm. It limits the jobs in flight by itself.

    Attributes:
        out_of_memory: trials whose worker Ray killed because memory was low.
        died_between: trials whose worker died before it started them; Tune does not retry those.
        error: the error of recording a result or getting a job, or None.
    """

    def __init__(self, source: Source, settings: RaySettings) -> None:
        super().__init__(metric=METRIC, mode="min")
        self._source, self._settings = source, settings
        self._jobs: dict[str, list[Job]] = {}
        self._waiting_again: deque[list[Job]] = deque()
        self._tries: Counter[tuple[str, int]] = Counter()
        self.out_of_memory: set[str] = set()
        self.died_between: set[str] = set()
        self.error: Exception | None = None

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Tell Tune that its own limiter is not needed."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job's probe; None while the source waits or all workers have work."""
        if self.error is not None:
            return str(Searcher.FINISHED)
        if len(self._jobs) >= self._settings.workers:
            return None
        try:
            jobs = self._waiting_again.popleft() if self._waiting_again else self._next_jobs()
        except Exception as error:  # Tune would hide it in an error of its own
            self.error = error
            return str(Searcher.FINISHED)
        if jobs is DONE:  # unless a job in flight has to be retried
            return None if self._jobs else str(Searcher.FINISHED)
        if isinstance(jobs, Signal):
            return None
        self._jobs[trial_id] = jobs
        searched = jobs[0].study.space is not None
        rungs = self._settings.rungs if searched else None
        rungs = rungs or (amount_asked(jobs[0].probe),)
        # As text, because Tune flattens and copies nested values for every trial.
        probes = [probe_to_json(job.probe) for job in jobs]
        return {"probes": json.dumps(probes), "rungs": json.dumps(rungs)}

    def _next_jobs(self) -> list[Job] | Signal:
        job = self._source.next()
        if isinstance(job, Signal):
            return job
        return [job, *more_jobs(self._source, self._settings.together - 1)]

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the results to their jobs; a trial without a result lost its worker too often.

        If it had several jobs, each is then tried by itself, so that only the one fails that cannot
        be measured.
        """
        jobs = self._jobs.pop(trial_id, None)
        if jobs is None:
            return
        if result and "outcomes" in result:
            outcomes = read_outcomes(result["outcomes"])
        elif self.error is not None:
            return  # the run ends, so nothing is tried again
        elif error and len(jobs) > 1:
            self._waiting_again.extend([job] for job in jobs)
            return
        elif error and trial_id in self.died_between and self._may_retry(jobs[0]):
            self._waiting_again.append(jobs)
            return
        elif error:
            limit = self._settings.time_limit
            why = "" if limit is None else f", possibly killed by the time limit of {limit:g} s"
            if trial_id in self.out_of_memory:
                why = ", the last time out of memory"
            outcomes = [Failure(f"its worker died {WORKER_RETRIES + 1} times{why}")]
        else:
            return  # stopped from outside: the probe is asked for again when the study is resumed
        try:
            finish_all(jobs, outcomes)
        except Exception as failed:
            self.error = self.error or failed

    def _may_retry(self, job: Job) -> bool:
        name = (job.study.record.name, job.probe.number)
        self._tries[name] += 1
        return self._tries[name] <= WORKER_RETRIES

    def __getstate__(self) -> dict[str, Any]:
        """No state: Tune stores a pickle of its searcher, which is never read."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the record holds what is needed to resume."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing."""


class StopAfterError(tune.Stopper):
    """Ends the run after an error: of the optimiser, or of a result that cannot be recorded."""

    def __init__(self, searcher: JobSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop one trial: never, trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop the run."""
        return self._searcher.error is not None


class Patient(FIFOScheduler):
    """A scheduler that waits for workers to start.

    Tune's own scheduler gives every free worker to the oldest waiting trial, and kills the worker
    that is starting for that trial. Where evaluations are shorter than the start of a worker, a
    single worker would end up doing all of them.
    """

    searcher: JobSearcher

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Tell the searcher why a trial failed, which Tune does not."""
        super().on_trial_error(tune_controller, trial)
        errors = Path(str(trial.error_file)).read_text()
        # A trial that ran, and that Tune may retry by itself, has the status ERROR here.
        between = trial.status == Trial.PENDING and trial.should_recover()  # type: ignore[no-untyped-call]
        for found, trials in (
            (LOW_MEMORY in errors.rpartition("Failure #")[2], self.searcher.out_of_memory),
            (between, self.searcher.died_between),
        ):
            (trials.add if found else trials.discard)(trial.trial_id)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None: Tune gives free workers to trials for which no worker is starting."""
        return None


class PatientASHA(Patient, AsyncHyperBandScheduler):
    """Ray's ASHA, waiting for workers to start."""


class Forgetting(tune.Callback):
    """Drops the history of metrics that Tune keeps for each finished trial, 17 KiB never read."""

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Drop the history of the trial; its last result stays."""
        trial.run_metadata.metric_n_steps.clear()


@contextlib.contextmanager
def ray_workers(
    settings: RaySettings, user_modules: Sequence[Path] = (), module: str | None = None
) -> Iterator[None]:
    """Connect to a Ray that has what the work needs.

    Args:
        settings: how the work is distributed.
        user_modules: files or folders of the user's code to send along.
        module: a module of the user's code that the workers must be able to import.

    Raises:
        ValueError: there is no cluster at the address, it lacks the resources, or the module
            cannot be imported there.
    """
    with ray_session(settings.address, settings.workers, user_modules):
        _check_resources(settings)
        if module is not None:
            reason = ray.get(ray.remote(import_module).remote(module))
            if reason is not None:
                raise ValueError(f"{module} cannot be imported in a worker: {reason}")
        yield


def check_arrives(objective: Objective | Measures) -> None:
    """Check that a worker can unpickle an objective; called within `ray_workers`.

    Otherwise every evaluation would kill its worker, without a reason.

    Raises:
        ValueError: it cannot be unpickled.
    """
    reason = ray.get(ray.remote(_unpickling_fault).remote([ray.put(objective)]))
    if reason is not None:
        raise ValueError(f"the objective cannot be unpickled in a worker: {reason}")


def _unpickling_fault(sent: list[Any]) -> str | None:
    """Why the sent object cannot be unpickled, or None."""
    try:
        ray.get(sent[0])
    except Exception as error:
        return last_line(error)
    return None


def run_ray(source: Source, objective: Objective | Measures, settings: RaySettings) -> None:
    """Run the jobs of a source until there are none left, or until Ctrl-C.

    It is called within `ray_workers`.

    Args:
        source: the source of jobs.
        objective: a prepared objective, or a trainer; it is sent to the workers by pickle.
        settings: how the work is distributed.

    Raises:
        ValueError: a result cannot be recorded.
    """
    searcher = JobSearcher(source, settings)
    trainable = tune.with_parameters(
        EvaluationTrial, objective=objective, time_limit=settings.time_limit
    )
    # For Tune's own files, which are never read; some may be written late.
    with (
        tempfile.TemporaryDirectory(prefix="autonat-tune-", ignore_cleanup_errors=True) as scratch,
        repaired_tune(scratch),
    ):
        tune.run(
            trainable,
            name="trials",
            storage_path=scratch,
            resources_per_trial={"cpu": 1, "gpu": settings.gpus_per_trial},
            search_alg=searcher,
            scheduler=_scheduler(settings.rungs, searcher),
            num_samples=-1,
            max_concurrent_trials=settings.workers,
            reuse_actors=True,
            max_failures=WORKER_RETRIES,
            raise_on_failed_trial=False,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            callbacks=[Forgetting()],
            stop=StopAfterError(searcher),
            verbose=0,
            _remote=False,  # else Tune would run on the cluster, which may not see the record
        )
    if searcher.error is not None:
        raise searcher.error


def _scheduler(rungs: tuple[int, ...] | None, searcher: JobSearcher) -> Patient:
    """Ray's ASHA over the rungs, which double (Li et al. 2020); without rungs nothing is
    stopped."""
    if rungs is None:
        scheduler = Patient()  # type: ignore[no-untyped-call]
    else:
        scheduler = PatientASHA(
            time_attr=AMOUNT,
            metric="fid",
            mode="min",
            grace_period=rungs[0],
            max_t=rungs[-1],
            reduction_factor=2,
        )
    scheduler.searcher = searcher
    return scheduler


def _check_resources(settings: RaySettings) -> None:
    """Refuse to ask for more than a node has, for which Ray would wait forever."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    if not has_room(nodes, settings.gpus_per_trial):
        most = max(node["Resources"].get("GPU", 0) for node in nodes if node["Alive"])
        raise ValueError(
            f"a trial needs 1 CPU and {counted(settings.gpus_per_trial)}, but no node of the "
            f"cluster has both; the most GPUs of a node are {most:g}"
        )


def counted(gpus: float) -> str:
    """A number of GPUs in words: "0 GPUs", "0.5 GPU", "1 GPU", "2 GPUs"."""
    return f"{gpus:g} GPU{'' if 0 < gpus <= 1 else 's'}"


def has_room(nodes: Iterable[dict[str, Any]], gpus: float) -> bool:
    """Whether a node of a cluster (`ray.nodes()`) has one CPU and that many GPUs."""
    found = (node["Resources"] for node in nodes if node["Alive"])
    return any(has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= gpus for has in found)
