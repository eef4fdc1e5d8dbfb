"""Measures the benefit of more workers on a virtual cluster, and the overhead of a real search.

    python -m benchmarks.scale simulated      # all optimisers with 1 … 1,000 workers; minutes
    python -m benchmarks.scale simulated --optimisers random --workers 1000 --evaluations 100000
    python -m benchmarks.scale real           # Ray, record and MLflow with 2 workers; minutes

docs/scale.md has the results.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import optuna
import pandas as pd
import typer

from search.optimiser import Budget
from search.registry import OPTIMISERS, default_settings, make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective
from trials.progress import LiveProgress
from trials.runners.virtual_cluster import Cluster, run_virtual
from trials.searches.launch import launch
from trials.searches.settings import GenerationSearch

IMAGES = 500
WORKERS = "1,2,8,32,128,1000"
SLOW = ("gp",)
"""Not in the default list: after 600 results Optuna's GP needs more than a second to ask."""
WARM_UP = 10
"""The number of evaluations that are not timed, because workers start during them."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def simulated(
    optimisers: str = ",".join(name for name in OPTIMISERS if name not in SLOW),
    workers: str = WORKERS,
    evaluations: int = 620,
    steps: int = 8,
    seconds: Annotated[float, typer.Option(help="Median of an evaluation.")] = 60.0,
    seed: int = 0,
) -> None:
    """Print the virtual wall time and the busy fraction of workers for each optimiser.

    The virtual cluster has stragglers, deaths, preemptions, and 50 ms of the driver per
    evaluation.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = Space(GenerationStrategy.maskgit(steps))
    budget, objective = Budget(evaluations * IMAGES, IMAGES), SimulatedObjective()
    lines: list[dict[str, object]] = []
    for name in optimisers.split(","):
        alone = 0.0
        for count in map(int, workers.split(",")):
            own = default_settings(name)
            if "max_in_flight" in own:  # as autonat search sets it
                own["max_in_flight"] = max(own["max_in_flight"], 2 * count)
            cluster = Cluster(
                count, seconds, 0.2, 0.02, deaths=0.01, preemptions=0.1, overhead=0.05, seed=seed
            )
            optimiser = make_optimiser(name, space, budget, seed, own, objective.tokens)
            began = time.perf_counter()
            run = run_virtual(optimiser, objective, cluster)
            real = time.perf_counter() - began
            alone = alone or run.wall
            lines.append(
                {
                    "optimiser": name,
                    "workers": count,
                    "evaluations": run.evaluations,
                    "hours": run.wall / 3600,
                    "against the first": alone / run.wall,
                    "busy": run.busy,
                    "best FID": run.best[-1][1],
                    "died": run.retried,
                    "preempted": run.preempted,
                    "failed": run.failed,
                    "real s": real,
                }
            )
            print(pd.DataFrame(lines[-1:]).round(3).to_string(index=False, header=len(lines) == 1))
            sys.stdout.flush()


@dataclass(frozen=True)
class Sample:
    """The state after an evaluation; `bytes` is the memory of the driver."""

    at: float
    cpu: float
    evaluations: int
    bytes: int
    mirrored: int
    workers: int


class Watch(LiveProgress):
    """Progress that samples the driver and the mirror after every `every`th evaluation."""

    def __init__(self, lab: Path, every: int) -> None:
        super().__init__()
        import psutil  # Ray brings it along

        self._process = psutil.Process()
        self._store, self._every = lab / "mlflow.db", every
        self.samples: list[Sample] = []

    def update(self, name: str, done: int, total: int, note: str) -> None:
        """Sample during the search, but not during its final test."""
        super().update(name, done, total, note)
        if name != "scale-random" or (done % self._every and done != total):
            return
        at, cpu, rss = time.perf_counter(), time.process_time(), self._process.memory_info().rss
        self.samples.append(Sample(at, cpu, done, rss, self._mirrored(), self._workers()))

    def _workers(self) -> int:
        """Return the number of Ray's processes that evaluate."""
        names = (child.cmdline()[:1] for child in self._process.children(recursive=True))
        return sum(name == ["ray::EvaluationTrial"] for name in names)

    def _mirrored(self) -> int:
        """Return the number of ended child runs in the tables of MLflow."""
        if not self._store.exists():
            return 0
        with sqlite3.connect(f"file:{self._store}?mode=ro", uri=True) as store:
            if not store.execute("select 1 from sqlite_master where name = 'runs'").fetchall():
                return 0
            ended = "select count(*) from runs where end_time is not null"
            return int(store.execute(ended).fetchone()[0])


@dataclass(frozen=True)
class Measured:
    """A real search.

    Attributes:
        samples: the samples taken during it.
        own: the mean seconds of an evaluation in the objective.
        workers: the number of workers that ran in the middle of it.
        catching_up: the seconds from the last evaluation until MLflow had all of them.
    """

    samples: list[Sample]
    own: float
    workers: int
    catching_up: float

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Return the wall and CPU seconds per evaluation between two samples."""
        a, b = self.samples[first], self.samples[last]
        count = b.evaluations - a.evaluations
        return (b.at - a.at) / count, (b.cpu - a.cpu) / count


def search(evaluations: int, workers: int, latency: float, steps: int, every: int) -> Measured:
    """Run a search in the same way as the command line: ask, Ray, record, MLflow."""
    lab = Path(tempfile.mkdtemp(prefix="autonat-scale-"))
    try:
        settings = GenerationSearch(
            name="scale",
            objective="simulated",
            objective_settings={"latency": latency},
            steps=steps,
            optimisers=["random"],
            # The optimiser must never WAIT: Tune would then give the probe of a starting worker to
            # an idle one, and evaluations without cost are faster than any start.
            optimiser_settings={"random": {"max_in_flight": evaluations}},
            budget=evaluations * IMAGES,
            images_per_evaluation=IMAGES,
            controls=[],
            test_images=IMAGES,
            test_seeds=[1],
            lab=lab,
            workers=workers,
        )
        with Watch(lab, every) as watch:
            launched = launch(settings, resume=False, progress=watch)
        record = launched.run.studies[0].record
        own = float(np.mean([e.measurement.seconds for e in record.evaluations if e.measurement]))
        launched.mirror.sync(record)
        catching_up = time.perf_counter() - watch.samples[-1].at
        workers_up = watch.samples[len(watch.samples) // 2].workers
        return Measured(watch.samples, own, workers_up, catching_up)
    finally:
        shutil.rmtree(lab, ignore_errors=True)


@app.command()
def real(
    only: Annotated[str, typer.Option(help="overhead, speedup or memory; with commas.")] = "",
    steps: int = 8,
    evaluations: int = 5000,
) -> None:
    """Measure overhead with 2 workers, speed-up over 1 worker, and memory in 5,000 evaluations."""
    chosen = set(filter(None, only.split(","))) or {"overhead", "speedup", "memory"}
    if "overhead" in chosen:
        overhead(steps)
    if "speedup" in chosen:
        speedup(steps)
    if "memory" in chosen:
        memory(steps, evaluations)


def overhead(steps: int) -> None:
    """Print the overhead for an objective without cost, and for one that sleeps 0.2 s."""
    for latency in (0.0, 0.2):
        found = search(400, 2, latency, steps, WARM_UP)
        wall, cpu = found.between(len(found.samples) // 2, -1)  # all workers are up by then
        print(
            f"overhead, latency {latency} s: {1000 * (wall - found.own / 2):.1f} ms per evaluation "
            f"(one every {1000 * wall:.1f} ms; per round of a worker "
            f"{1000 * (2 * wall - found.own):.1f} ms beyond the objective's "
            f"{1000 * found.own:.1f} ms); driver's CPU {1000 * cpu:.1f} ms; "
            f"{found.workers} workers were up"
        )


def speedup(steps: int) -> None:
    """Print the evaluations per second of 2 workers and of 1, each of 1 s."""
    rates = {}
    for workers in (1, 2):
        wall, _ = search(60 * workers, workers, 1.0, steps, WARM_UP).between(0, -1)
        rates[workers] = 1 / wall
        print(f"{workers} workers at 1 s: {rates[workers]:.3f} evaluations per second")
    print(f"two workers are {rates[2] / rates[1]:.3f} times as fast as one")


def memory(steps: int, evaluations: int) -> None:
    """Print the memory of the driver and the lag of the mirror over many evaluations."""
    found = search(evaluations, 2, 0.0, steps, max(1, evaluations // 20))
    start = found.samples[0]
    for before, sample in enumerate(found.samples[1:]):
        wall, cpu = found.between(before, before + 1)
        print(
            f"{sample.evaluations:6d} evaluations: {1000 * wall:5.1f} ms each, CPU "
            f"{1000 * cpu:5.1f} ms, driver {(sample.bytes - start.bytes) / 2**20:+6.1f} MiB, "
            f"{sample.evaluations - sample.mirrored} not in MLflow yet, {sample.workers} workers"
        )
    print(f"MLflow had all evaluations {found.catching_up:.1f} s after the last one")


if __name__ == "__main__":
    sys.exit(app())
