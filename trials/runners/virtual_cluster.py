"""A simulated cluster with a clock of its own, to predict how long a search takes on N workers.

An event heap takes the place of Ray. Optimiser and objective are real, so that WAIT is the same
barrier. Only the duration of an evaluation, and whether it is lost, are drawn at random. They are
drawn for each probe and try, not for a worker or a moment: with any number of workers, the same
probes are measured, they take the same time, and the same tries are lost.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from search.measurement import Failure, Measurement
from search.optimiser import DONE, Optimiser, Probe, Signal
from trials.objectives.measured import Measures, evaluate_probe
from trials.objectives.objective import Objective

BLOCK = 4096
"""Probes whose random numbers are drawn together."""
HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """N workers, and how often their evaluations are slow or lost.

    Attributes:
        workers: N, >= 1.
        seconds: the median duration of an evaluation, > 0.
        spread: the standard deviation of its logarithm, >= 0; durations are log-normal.
        stragglers: the share of tries that take `slowdown` times as long, in [0, 1].
        slowdown: the factor for stragglers, >= 1.
        deaths: the share of tries whose worker dies, at a uniformly drawn moment, in [0, 1]. The
            probe is run again, at most `retries` times; then it counts as failed.
        retries: as in Ray's runner (WORKER_RETRIES).
        preemptions: of a worker in each hour of its work, >= 0. The probe is run again, which does
            not count as a retry, as in Ray Tune.
        away: seconds until a preempted worker is back, >= 0.
        overhead: seconds of the driver for each try, >= 0; there is one driver.
        seed: of everything that is drawn, >= 0.

    Raises:
        ValueError: a value is outside its range.
    """

    workers: int
    seconds: float = 60.0
    spread: float = 0.1
    stragglers: float = 0.0
    slowdown: float = 5.0
    deaths: float = 0.0
    retries: int = 3
    preemptions: float = 0.0
    away: float = 300.0
    overhead: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"workers": 1, "slowdown": 1, **dict.fromkeys(("retries", "seed"), 0)}
        for field in dataclasses.fields(self):
            value, low = getattr(self, field.name), least.get(field.name, 0)
            if not (low <= value < math.inf):
                raise ValueError(f"{field.name} = {value} is not a finite number >= {low}")
        if self.seconds == 0:
            raise ValueError("seconds: expected a number above 0, got 0")
        for name in ("stragglers", "deaths"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} = {getattr(self, name)} is outside [0, 1]")


@dataclass(frozen=True)
class VirtualRun:
    """The course of a search on a simulated cluster.

    Attributes:
        workers: N.
        wall: seconds from the first ask to the last result.
        worked: seconds that all workers together spent on tries, including lost ones.
        lost: the part of these seconds that was spent on lost tries.
        evaluations: results that the optimiser was told, including failed ones.
        failed: how many of these failed.
        retried: tries whose worker died and whose probe was run again.
        preempted: tries that were cut off by preemption.
        best: (seconds, value) for each value that was lower than all before.
    """

    workers: int
    wall: float
    worked: float
    lost: float
    evaluations: int
    failed: int
    retried: int
    preempted: int
    best: tuple[tuple[float, float], ...]

    @property
    def busy(self) -> float:
        """The share of the workers' time that was spent on tries, in [0, 1]."""
        return self.worked / (self.workers * self.wall) if self.wall else 0.0


@dataclass(frozen=True)
class _Try:
    """One try of a probe; `ending` is "measured", "died" or "preempted"."""

    probe: Probe
    deaths: int
    number: int
    seconds: float
    ending: str


def run_virtual(
    optimiser: Optimiser, objective: Objective | Measures, cluster: Cluster
) -> VirtualRun:
    """Run a search on a virtual cluster until it is done.

    Args:
        optimiser: a fresh one.
        objective: measures in this process when a try ends; its own time does not count.
        cluster: gives the durations and losses.

    Raises:
        RuntimeError: the optimiser waits with nothing in flight.
    """
    run = _Run(optimiser, objective, cluster)
    while run.hand_out():
        run.next_event()
    return run.summary()


class _Run:
    """The state of a run between two events."""

    def __init__(
        self, optimiser: Optimiser, objective: Objective | Measures, cluster: Cluster
    ) -> None:
        self._optimiser, self._objective, self._cluster = optimiser, objective, cluster
        # The random numbers depend on everything but N.
        self._drawn_from = dataclasses.replace(cluster, workers=1)
        self._now = self._driver = self._wall = 0.0
        self._idle = list(range(cluster.workers))
        self._lost_tries: deque[_Try] = deque()
        self._events: list[tuple[float, int, int, _Try | None]] = []
        self._entered = self._in_flight = 0
        self._worked: list[float] = []
        self._lost: list[float] = []
        self._counts = dict.fromkeys(("evaluations", "failed", "retried", "preempted"), 0)
        self._best: list[tuple[float, float]] = []

    def hand_out(self) -> bool:
        """Give jobs to idle workers, lost probes first; return whether any job is in flight."""
        while self._idle and (job := self._next_try()) is not None:
            worker = heapq.heappop(self._idle)
            self._driver = max(self._now, self._driver) + self._cluster.overhead
            self._enter(self._driver + job.seconds, worker, job)
        return self._in_flight > 0

    def next_event(self) -> None:
        """Advance the clock to the next end of a try, or return of a worker."""
        self._now, _, worker, job = heapq.heappop(self._events)
        if job is None or job.ending != "preempted":
            heapq.heappush(self._idle, worker)
        else:
            self._enter(self._now + self._cluster.away, worker, None)
        if job is not None:
            self._end(job)

    def summary(self) -> VirtualRun:
        """The course of the run so far."""
        worked, lost = math.fsum(self._worked), math.fsum(self._lost)
        workers, best = self._cluster.workers, tuple(self._best)
        return VirtualRun(workers, self._wall, worked, lost, **self._counts, best=best)

    def _next_try(self) -> _Try | None:
        if self._lost_tries:
            return self._lost_tries.popleft()
        probe = self._optimiser.ask()
        if isinstance(probe, Signal):
            if probe is not DONE and self._in_flight == 0:
                raise RuntimeError("the optimiser waits with nothing in flight")
            return None
        self._in_flight += 1
        return self._draw_try(probe, deaths=0, number=0)

    def _draw_try(self, probe: Probe, deaths: int, number: int) -> _Try:
        block, place = divmod(probe.number, BLOCK)
        seconds, ending = _draw(self._drawn_from, number, block)
        return _Try(probe, deaths, number, float(seconds[place]), str(ending[place]))

    def _enter(self, when: float, worker: int, job: _Try | None) -> None:
        heapq.heappush(self._events, (when, self._entered, worker, job))
        self._entered += 1

    def _end(self, job: _Try) -> None:
        self._worked.append(job.seconds)
        if job.ending == "measured":
            self._tell(job, evaluate_probe(self._objective, job.probe))
            return
        self._lost.append(job.seconds)
        deaths = job.deaths + (job.ending == "died")
        if deaths > self._cluster.retries:
            self._tell(job, Failure(f"its worker died {deaths} times"))
            return
        self._counts["retried" if job.ending == "died" else "preempted"] += 1
        self._lost_tries.append(self._draw_try(job.probe, deaths, job.number + 1))

    def _tell(self, job: _Try, result: Measurement | Failure) -> None:
        self._in_flight -= 1
        self._wall = self._now
        self._counts["evaluations"] += 1
        if isinstance(result, Failure):
            self._counts["failed"] += 1
        else:
            result = dataclasses.replace(result, seconds=job.seconds)
            if not self._best or result.value < self._best[-1][1]:
                self._best.append((self._now, result.value))
        self._optimiser.tell(job.probe, result)


@lru_cache(maxsize=64)
def _draw(
    cluster: Cluster, number: int, block: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    """The seconds and the ending of try `number` for each probe of a block; both [BLOCK]."""
    rng = np.random.default_rng([cluster.seed, number, block])
    seconds = cluster.seconds * np.exp(cluster.spread * rng.normal(size=BLOCK))
    seconds *= np.where(rng.random(BLOCK) < cluster.stragglers, cluster.slowdown, 1.0)
    died = rng.random(BLOCK) < cluster.deaths
    seconds *= np.where(died, rng.random(BLOCK), 1.0)
    ending = np.where(died, "died", "measured")
    if cluster.preemptions:
        until = rng.exponential(HOUR / cluster.preemptions, BLOCK)
        ending = np.where(until < seconds, "preempted", ending)
        seconds = np.minimum(seconds, until)
    return seconds, ending
