"""A study: an optimiser and the record of its evaluations.

A study is resumed by replay. A fresh optimiser is asked for its probes again. A probe whose result
is in the record is answered from it; the others, which were lost in flight or never started, are
run. Where failures are tried again, the optimiser may take another course than before. Recorded
probes that it still asks for are answered from the record, and the others are superseded. In the
end the record is as if nothing had failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from search.dimensions import SearchSpace
from search.measurement import Failure, Measurement
from search.optimiser import (
    DONE,
    FIRST_SEARCH_SEED,
    WAIT,
    Converges,
    Optimiser,
    Probe,
    Signal,
)
from search.reading import shown
from search.user_code import explained
from trials.objectives.measured import require_metric
from trials.record.evaluation import pair_of, same_strategies
from trials.record.kinds import SEARCH
from trials.record.record import Record


@dataclass(frozen=True)
class Job:
    """A probe to be run, and the study that gets its result."""

    study: Study
    probe: Probe

    def finish(self, result: Measurement | Failure) -> None:
        """Pass the result to the study; called once.

        Raises:
            ValueError: the record cannot be written.
        """
        self.study.finish(self.probe, result)


class Source(Protocol):
    """Where a runner gets its jobs from."""

    def next(self) -> Job | Signal:
        """The next job; WAIT while results are missing, and DONE when no more jobs will come."""


def more_jobs(source: Source, most: int) -> list[Job]:
    """The next jobs, at most so many; fewer where no more can come before results are known."""
    found: list[Job] = []
    while len(found) < most and isinstance(job := source.next(), Job):
        found.append(job)
    return found


def finish_all(jobs: Sequence[Job], results: Sequence[Measurement | Failure]) -> None:
    """Pass each result to its job, and only then raise the first error.

    Raises:
        ValueError: the record cannot be written.
    """
    errors: list[ValueError] = []
    for job, result in zip(jobs, results, strict=True):
        try:
            job.finish(result)
        except ValueError as error:
            errors.append(error)
    if errors:
        raise errors[0]


class Study:
    """Runs an optimiser against a record.

    Args:
        optimiser: a fresh one.
        record: an empty one, or that of the same optimiser with the same settings.
        space: the searched space; None where given strategies are measured.
        total: the expected number of evaluations, for the progress.
        listener: called with the study after each evaluation.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        record: Record,
        space: SearchSpace | None,
        total: int,
        listener: Callable[[Study], None],
    ) -> None:
        self.record, self.space, self.total = record, space, total
        self._optimiser, self._listener = optimiser, listener
        self._recorded = {e.probe.number: e for e in record.evaluations}
        self._asked: set[int] = set()
        self._in_flight = 0
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether the optimiser is done and all results are recorded."""
        return self._done and self._in_flight == 0

    @property
    def in_flight(self) -> int:
        """How many evaluations are being measured."""
        return self._in_flight

    def next(self) -> Job | Signal:
        """The next probe that has no result in the record, as a job; or WAIT or DONE.

        Raises:
            ValueError: the record holds another probe than the optimiser asks for, or what it asks
                for cannot be measured.
        """
        while True:
            with self._explained("ask"):
                probe = self._optimiser.ask()
            self._note_convergence()
            if isinstance(probe, Signal):
                if probe is WAIT and self._in_flight == 0:
                    raise ValueError(
                        f"study {self.record.name}: the optimiser's ask() said WAIT while no "
                        "result was to come"
                    )
                self._done = probe is DONE
                if self._done:
                    self._supersede_the_rest()
                return probe
            self._require_new(probe)
            recorded = self._recorded.pop(probe.number, None)
            if recorded is not None and not _same(probe, recorded.probe):
                if not self.record.retried_at(probe.number):
                    raise ValueError(
                        f"study {self.record.name}: the recorded probe {probe.number} is not the "
                        "one that the optimiser asks for; other versions made it, or it was "
                        "changed by hand"
                    )
                self.record.supersede([recorded])
                recorded = None
            if recorded is None:
                self._in_flight += 1
                return Job(self, probe)
            self._tell(probe, recorded.result)

    def finish(self, probe: Probe, result: Measurement | Failure) -> None:
        """Record a result, then tell it to the optimiser and call the listener.

        Raises:
            ValueError: the record cannot be written, or the result is of another metric than the
                objective's description says.
        """
        if isinstance(result, Measurement):
            described = self.record.settings.get("objective") or {}
            require_metric(str(described.get("name")), self.record.metric, result.metric)
        self.record.add(probe, result, self.space)
        self._in_flight -= 1
        self._tell(probe, result)
        self._listener(self)

    def _require_new(self, probe: object) -> None:
        """Refuse what is no probe, or one that a record cannot hold or that spoils final tests."""
        said = f"study {self.record.name}: expected"
        if not isinstance(probe, Probe):
            raise ValueError(
                f"{said} a Probe, WAIT or DONE from the optimiser's ask(), got {shown(probe)}"
            )
        for name in ("number", "images", "seed", "step"):
            if type(value := getattr(probe, name)) is not int:
                raise ValueError(f"{said} {name} of a Probe to be an int, got {shown(value)}")
        if probe.number in self._asked:
            raise ValueError(f"{said} a new number for each probe, got {probe.number} again")
        if self.record.settings.get("kind") == SEARCH and probe.seed < FIRST_SEARCH_SEED:
            raise ValueError(
                f"{said} seeds of {FIRST_SEARCH_SEED} or more, as the others are for final tests, "
                f"got {probe.seed} for probe {probe.number}"
            )
        self._asked.add(probe.number)

    def _tell(self, probe: Probe, result: Measurement | Failure) -> None:
        with self._explained("tell"):
            self._optimiser.tell(probe, result)

    def _explained(self, method: str) -> AbstractContextManager[None]:
        name = self.record.settings.get("optimiser")
        return explained(f"optimiser {name}, in {method}()", type(self._optimiser))

    def _supersede_the_rest(self) -> None:
        """Supersede recorded evaluations that were not asked for again after failures were
        retried."""
        rest = [e for n, e in self._recorded.items() if self.record.retried_at(n)]
        self._recorded.clear()
        self.record.supersede(rest)
        self.record.settle()

    def _note_convergence(self) -> None:
        optimiser = self._optimiser
        if isinstance(optimiser, Converges) and optimiser.converged is not None:
            self.record.note_converged(optimiser.converged)


def _same(asked: Probe, recorded: Probe) -> bool:
    """Whether two probes are equal up to the last digits, in which machines may differ."""
    return _exact(asked) == _exact(recorded) and same_strategies(pair_of(asked), pair_of(recorded))


def _exact(probe: Probe) -> tuple[object, ...]:
    """What is the same on every machine."""
    trained = probe.training
    return probe.seed, probe.images, probe.role, trained and (trained.steps, trained.seed)
