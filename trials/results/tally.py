"""What the trials of a study add up to, kept up to date as they are recorded.

A search of many hours is looked at every few seconds. Its trials are added once each, and nothing
of them is kept but the sums, the curve and the last few.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from search.progress import Value
from trials.record.failures import without_numbers
from trials.results.pace import RECENT, Ended

FINISHED = ("COMPLETE", "PRUNED", "FAIL")


class Trial(NamedTuple):
    """A finished trial of a record.

    Attributes:
        trial_id: its id in the storage.
        number: its number in the study.
        state: COMPLETE, PRUNED or FAIL.
        started: when its evaluation began, in the driver's local time; None if that is unknown.
        finished: when its evaluation ended.
        value: the value of the metric; None if it failed or was stopped early.
        images: generated; of a failed evaluation, those asked for.
        attributes: user attributes by name, of the trials that need them: "reason" of failures,
            "probe", "role", "strategy" and "error" of the first ones, and "role", "seed" and
            "error" in final tests; "error" is the standard error.
    """

    trial_id: int
    number: int
    state: str
    started: datetime | None
    finished: datetime | None
    value: float | None
    images: int
    attributes: Mapping[str, Any]


class First(NamedTuple):
    """One of the first trials: its probe's number and role, its strategy as JSON, its value."""

    probe: int
    role: str
    strategy: Any
    value: Value


@dataclass
class Tally:
    """What the trials of one study add up to.

    Attributes:
        superseded: numbers of trials that no longer count, except for their images.
        trials: how many were added.
        last_id: the largest trial id that was added.
        complete: successful evaluations, including those stopped early.
        failed: evaluations without a measurement.
        images: generated so far.
        lowest: the lowest value so far; infinite before there is one.
        lowest_id: the id of its trial.
        curve: the images generated and the best value so far, at each improvement.
        last: when the last evaluation ended.
        recent: the last trials, as many as `pace` needs.
        reasons: why evaluations failed, as the first of a kind said it, and how many did; reasons
            that differ in numbers only are of one kind.
        first: the first trials that have a value.
        tested: the values of a final test by role and seed; NaN of a failure.
        errors: the standard errors that its measurements state, by role.
        damaged: a line for each trial that could not be read and is left out.
    """

    superseded: Collection[int] = ()
    trials: int = 0
    last_id: int = -1
    complete: int = 0
    failed: int = 0
    images: int = 0
    lowest: float = math.inf
    lowest_id: int | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    last: datetime | None = None
    recent: deque[Ended] = field(default_factory=lambda: deque(maxlen=RECENT + 1))
    reasons: dict[str, tuple[str, int]] = field(default_factory=dict)
    first: list[First] = field(default_factory=list)
    tested: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    errors: dict[str, float | None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Add a trial, which was recorded after those that were added before."""
        if trial.state not in FINISHED:
            raise ValueError(f"expected a state of {', '.join(FINISHED)}, got {trial.state}")
        self.trials += 1
        self.last_id = max(self.last_id, trial.trial_id)
        self.images += trial.images
        if trial.number in self.superseded:
            return
        if trial.finished is not None:
            self.last = max(self.last or trial.finished, trial.finished)
            started = trial.started or trial.finished
            seconds = (trial.finished - started).total_seconds()
            self.recent.append(Ended(trial.finished, seconds, trial.images))
        if trial.state == "FAIL":
            self._fail(trial)
            return
        self.complete += 1
        value = trial.value if trial.state == "COMPLETE" else None
        if value is None or not math.isfinite(value):
            return
        if value < self.lowest:
            self.lowest, self.lowest_id = value, trial.trial_id
            self.curve.append((self.images, value))
        self._note(trial, value)

    def leave_out(self, trial_id: int, line: str) -> None:
        """Count a trial that cannot be read.

        Args:
            trial_id: its id in the storage.
            line: says why.
        """
        self.trials += 1
        self.last_id = max(self.last_id, trial_id)
        self.damaged.append(line)

    def _fail(self, trial: Trial) -> None:
        self.failed += 1
        reason = str(trial.attributes.get("reason", ""))
        kind = without_numbers(reason)
        text, count = self.reasons.get(kind, (reason, 0))
        self.reasons[kind] = (text, count + 1)
        if "seed" in trial.attributes:
            self._note(trial, math.nan)

    def _note(self, trial: Trial, value: float) -> None:
        told = trial.attributes
        if "seed" in told:
            role = str(told["role"])
            self.tested[role][int(told["seed"])] = value
            self.errors.setdefault(role, told.get("error"))
        elif "probe" in told:
            found, error = told["strategy"], told.get("error")
            first = First(int(told["probe"]), str(told["role"]), found, Value(value, error))
            self.first.append(first)
