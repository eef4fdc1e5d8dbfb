"""A cluster with a clock of its own: how long a search would take on N workers.

An event heap stands where Ray stands. Optimiser and objective are the real ones, so WAIT is the
same barrier; only the time that an evaluation takes, and what befalls it, is drawn. Both are drawn
for a probe and a try, not for a worker or a moment: whatever the number of workers, the same
probes are measured, they take as long, and they meet the same mishaps.
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
"""Probes that are drawn together."""
HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """N workers and what befalls them.

    Attributes:
        workers: N, >= 1.
        seconds: median of an evaluation's time, > 0.
        spread: deviation of its log, >= 0; the times are log-normal.
        stragglers: share of tries that take `slowdown` times as long, in [0, 1].
        slowdown: >= 1.
        deaths: share of tries whose worker dies, at a uniform moment, in [0, 1]. The probe is run
            again, `retries` times at most; then it counts as failed.
        retries: as Ray's runner has them (WORKER_RETRIES).
        preemptions: of a worker in an hour of its work, >= 0. The probe is run again, which is no
            retry, as in Ray Tune.
        away: seconds until a preempted worker is back, >= 0.
        overhead: seconds of the driver for each try, >= 0; there is one driver.
        seed: of all that is drawn, >= 0.

    Raises:
        ValueError: a value outside its range.
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
            raise ValueError("seconds = 0: an evaluation takes time")
        for name in ("stragglers", "deaths"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} = {getattr(self, name)} is outside [0, 1]")


@dataclass(frozen=True)
class VirtualRun:
    """How a search went.

    Attributes:
        workers: N.
        wall: seconds from the first ask to the last result.
        worked: seconds of all workers together on tries, lost ones included.
        lost: of these, on tries that gave nothing.
        evaluations: told to the optimiser, failed ones included.
        failed: of these.
        retried: tries whose worker died and whose probe was run again.
        preempted: tries that were cut off by preemption.
        best: (seconds, FID) whenever a lower FID than all before was told.
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
        """Share of the workers' time that was worked, in [0, 1]."""
        return self.worked / (self.workers * self.wall) if self.wall else 0.0


@dataclass(frozen=True)
class _Try:
    """A probe on its way; `ending` is "measured", "died" or "preempted"."""

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
        optimiser: fresh.
        objective: measures in this process, when a try ends; its time counts for nothing.
        cluster: what the clock is drawn from.

    Raises:
        RuntimeError: the optimiser waits with nothing in flight.
    """
    run = _Run(optimiser, objective, cluster)
    while run.hand_out():
        run.next_event()
    return run.told()


class _Run:
    """The state of a run between two events."""

    def __init__(
        self, optimiser: Optimiser, objective: Objective | Measures, cluster: Cluster
    ) -> None:
        self._optimiser, self._objective, self._cluster = optimiser, objective, cluster
        # What is drawn depends on everything but N.
        self._drawn_from = dataclasses.replace(cluster, workers=1)
        self._now = self._driver = self._wall = 0.0
        self._idle = list(range(cluster.workers))
        self._again: deque[_Try] = deque()
        self._events: list[tuple[float, int, int, _Try | None]] = []
        self._entered = self._in_flight = 0
        self._worked: list[float] = []
        self._lost: list[float] = []
        self._counts = dict.fromkeys(("evaluations", "failed", "retried", "preempted"), 0)
        self._best: list[tuple[float, float]] = []

    def hand_out(self) -> bool:
        """Give idle workers what there is, lost probes first; whether any is in flight."""
        while self._idle and (job := self._next_try()) is not None:
            worker = heapq.heappop(self._idle)
            self._driver = max(self._now, self._driver) + self._cluster.overhead
            self._enter(self._driver + job.seconds, worker, job)
        return self._in_flight > 0

    def next_event(self) -> None:
        """The clock goes on to the next end of a try, or return of a worker."""
        self._now, _, worker, job = heapq.heappop(self._events)
        if job is None or job.ending != "preempted":
            heapq.heappush(self._idle, worker)
        else:
            self._enter(self._now + self._cluster.away, worker, None)
        if job is not None:
            self._end(job)

    def told(self) -> VirtualRun:
        """The run so far."""
        worked, lost = math.fsum(self._worked), math.fsum(self._lost)
        workers, best = self._cluster.workers, tuple(self._best)
        return VirtualRun(workers, self._wall, worked, lost, **self._counts, best=best)

    def _next_try(self) -> _Try | None:
        if self._again:
            return self._again.popleft()
        probe = self._optimiser.ask()
        if isinstance(probe, Signal):
            if probe is not DONE and self._in_flight == 0:
                raise RuntimeError("the optimiser waits with nothing in flight")
            return None
        self._in_flight += 1
        return self._drawn(probe, deaths=0, number=0)

    def _drawn(self, probe: Probe, deaths: int, number: int) -> _Try:
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
        self._again.append(self._drawn(job.probe, deaths, job.number + 1))

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
    """Seconds and ending of that try of each probe of a block; both [BLOCK]."""
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
