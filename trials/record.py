"""The record of a study: an Optuna study in its storage, one trial an evaluation.

It is the only thing that a search must keep. The driver alone writes it, each evaluation in one
transaction when it ends, so that a kill at any moment leaves whole evaluations and nothing else.
What an evaluation was is in its trial's user attributes; the study's own hold its settings.
"""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from search.measurement import Failure, Measurement
from search.optimiser import RETEST, Probe
from search.space import DEFAULT_BOUNDS, Space
from search.strategy import GenerationStrategy

FORMAT = "autonat-record/1"
COLUMNS = (
    "number",
    "probe",
    "step",
    "role",
    "state",
    "fid",
    "fid_se",
    "images",
    "forward_passes",
    "seconds",
    "seed",
    "finished",
    "reason",
)


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation as the record holds it."""

    number: int
    probe: Probe
    result: Measurement | Failure
    finished: datetime

    @property
    def measurement(self) -> Measurement | None:
        """What was measured, or None if the evaluation failed."""
        return self.result if isinstance(self.result, Measurement) else None

    @property
    def stopped(self) -> bool:
        """Whether it was stopped at a smaller n than asked, as not worth more images."""
        return self.measurement is not None and self.measurement.images < self.probe.images

    @property
    def state(self) -> str:
        """COMPLETE, PRUNED (stopped at a smaller n) or FAIL, Optuna's words."""
        if self.measurement is None:
            return "FAIL"
        return "PRUNED" if self.stopped else "COMPLETE"

    @property
    def images(self) -> int:
        """Images that were generated for it."""
        return self.measurement.images if self.measurement else self.probe.images

    @property
    def reason(self) -> str:
        """Why it failed, or nothing."""
        return self.result.reason if isinstance(self.result, Failure) else ""


@dataclass(frozen=True)
class Best:
    """What a search found.

    Attributes:
        strategy: its winner.
        fid: what the search believes of it: the mean of its re-tests, or the lowest FID seen,
            which was chosen for being low.
    """

    strategy: GenerationStrategy
    fid: float


class Record:
    """The evaluations of one study, kept in an Optuna storage."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._converged: int | None = study.user_attrs.get("converged")
        self._evaluations = [_evaluation(trial) for trial in study.get_trials(deepcopy=False)]

    @classmethod
    def create(cls, url: str, name: str, settings: Mapping[str, Any]) -> Record:
        """A new record with these settings (JSON values).

        Raises:
            ValueError: a study of that name exists, or the storage cannot be written.
        """
        try:
            with _readable(url):
                study = optuna.create_study(study_name=name, storage=url, direction="minimize")
        except optuna.exceptions.DuplicatedStudyError:
            raise ValueError(f"study {name} exists already: --resume continues it") from None
        with _readable(url):
            study.set_user_attr("format", FORMAT)
            study.set_user_attr("study_id", uuid.uuid4().hex)
            study.set_user_attr("settings", dict(settings))
            return cls(study)

    @classmethod
    def open(cls, url: str, name: str) -> Record:
        """The record of an existing study.

        Raises:
            ValueError: there is none of that name (the known ones are listed), it is no record
                of autonat, or the storage cannot be read.
        """
        with _readable(url):
            names = optuna.study.get_all_study_names(url)
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise ValueError(f"no study {name!r} in {url}; known: {known}")
            study = optuna.load_study(study_name=name, storage=url)
            found = study.user_attrs.get("format")
            if found != FORMAT:
                raise ValueError(f"study {name}: format = {found!r} is unknown; known: {FORMAT!r}")
            return cls(study)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.study_name

    @property
    def study_id(self) -> str:
        """A name that no other study in the world has."""
        return str(self._study.user_attrs["study_id"])

    @property
    def settings(self) -> dict[str, Any]:
        """What was searched and how, as given to `create`."""
        return dict(self._study.user_attrs["settings"])

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All finished evaluations, in the order in which they finished."""
        return tuple(self._evaluations)

    def add(self, probe: Probe, result: Measurement | Failure, space: Space | None) -> None:
        """Write an evaluation; it is kept when this returns.

        Raises:
            ValueError: the storage cannot be written.
        """
        finished = datetime.now()
        trial = _trial(probe, result, space, finished)
        with _readable(str(self._study.study_name)):
            self._study.add_trial(trial)
        number = len(self._evaluations)
        self._evaluations.append(Evaluation(number, probe, result, finished))

    @property
    def converged(self) -> int | None:
        """After how many evaluations the search said that it had converged; None if it did not."""
        return self._converged

    def note_converged(self, evaluations: int) -> None:
        """Write down, once, that the search says so.

        Raises:
            ValueError: the storage cannot be written.
        """
        if self._converged is None:
            with _readable(str(self._study.study_name)):
                self._study.set_user_attr("converged", evaluations)
            self._converged = evaluations

    def best(self) -> Best | None:
        """What the search found: the strategy that its re-tests say is best, or, where it made
        none, that of the lowest single FID, the earlier probe of equals."""
        measured = [
            (e.probe, e.measurement.fid)
            for e in self._evaluations
            if e.measurement and not e.stopped
        ]
        retests = [pair for pair in measured if pair[0].role == RETEST]
        if not retests:
            found = min(measured, key=lambda m: (m[1], m[0].number), default=None)
            return None if found is None else Best(found[0].strategy, found[1])
        last = max(probe.step for probe, _ in retests)
        fids: dict[GenerationStrategy, list[float]] = {
            probe.strategy: [] for probe, _ in retests if probe.step == last
        }
        for probe, fid in sorted(retests, key=lambda pair: pair[0].number):
            if probe.strategy in fids:
                fids[probe.strategy].append(fid)
        means = [Best(strategy, math.fsum(f) / len(f)) for strategy, f in fids.items()]
        return min(means, key=lambda best: best.fid)

    def frame(self) -> pd.DataFrame:
        """The evaluations as a table with COLUMNS; a failed one has no FID but its images, a
        stopped one (PRUNED) the images that it was given and its FID at that n."""
        rows = []
        for evaluation in self._evaluations:
            probe, measured = evaluation.probe, evaluation.measurement
            rows.append(
                {
                    "number": evaluation.number,
                    "probe": probe.number,
                    "step": probe.step,
                    "role": probe.role,
                    "state": evaluation.state,
                    "fid": measured.fid if measured else math.nan,
                    "fid_se": measured.fid_se if measured else None,
                    "images": evaluation.images,
                    "forward_passes": probe.strategy.forward_passes(),
                    "seconds": measured.seconds if measured else math.nan,
                    "seed": probe.seed,
                    "finished": evaluation.finished,
                    "reason": evaluation.reason,
                }
            )
        return pd.DataFrame(rows, columns=list(COLUMNS))


def study_names(url: str) -> list[str]:
    """The names of all studies in a storage.

    Raises:
        ValueError: the storage cannot be read.
    """
    with _readable(url):
        return sorted(optuna.study.get_all_study_names(url))


def _trial(
    probe: Probe, result: Measurement | Failure, space: Space | None, finished: datetime
) -> FrozenTrial:
    attributes: dict[str, Any] = {
        "probe": probe.number,
        "step": probe.step,
        "role": probe.role,
        "seed": probe.seed,
        "images": probe.images,
        "forward_passes": probe.strategy.forward_passes(),
        "strategy": probe.strategy.to_json(),
    }
    if isinstance(result, Failure):
        attributes["reason"] = result.reason
    else:
        attributes |= {"fid_se": result.fid_se, "seconds": result.seconds}
        attributes["fid_at"] = [list(point) for point in result.fid_at]
    evaluation = Evaluation(0, probe, result, finished)
    state = TrialState[evaluation.state]
    value = None if isinstance(result, Failure) else result.fid
    trial = create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        intermediate_values={evaluation.images: value} if value and evaluation.stopped else None,
        params=probe.strategy.parameters(),
        distributions=_distributions(probe.strategy, space),
        user_attrs=attributes,
    )
    seconds = 0.0 if isinstance(result, Failure) else result.seconds
    trial.datetime_start = finished - timedelta(seconds=seconds)
    trial.datetime_complete = finished
    return trial


def _distributions(
    strategy: GenerationStrategy, space: Space | None
) -> dict[str, BaseDistribution]:
    """Ranges for Optuna's pages. They are widened to hold the value, for the reference search
    keeps no bounds; a schedule that is not searched may be 0 and so has no log scale."""
    ranges: dict[str, BaseDistribution] = {}
    for name, value in strategy.parameters().items():
        schedule = name.rpartition("_")[0]
        free = space is not None and schedule in space.free
        bound = (DEFAULT_BOUNDS if space is None else space.bounds)[schedule]
        low = min(bound.low, value) if free else 0.0
        ranges[name] = FloatDistribution(low, max(bound.high, value), log=free and bound.log)
    return ranges


def _evaluation(trial: FrozenTrial) -> Evaluation:
    attributes = trial.user_attrs
    probe = Probe(
        number=attributes["probe"],
        strategy=GenerationStrategy.from_json(attributes["strategy"]),
        images=attributes["images"],
        seed=attributes["seed"],
        step=attributes["step"],
        role=attributes["role"],
    )
    result: Measurement | Failure
    if trial.state != TrialState.FAIL:
        last = max(trial.intermediate_values, default=probe.images)
        fid = trial.intermediate_values.get(last, trial.value)
        result = Measurement(
            fid=math.nan if fid is None else fid,
            fid_se=attributes["fid_se"],
            images=last,
            forward_passes=attributes["forward_passes"],
            seconds=attributes["seconds"],
            fid_at=tuple((int(n), float(fid)) for n, fid in attributes.get("fid_at", ())),
        )
    else:
        result = Failure(attributes["reason"])
    finished = trial.datetime_complete or datetime.fromtimestamp(0)
    return Evaluation(trial.number, probe, result, finished)


@contextlib.contextmanager
def _readable(url: str) -> Iterator[None]:
    """Storage errors as one line."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise ValueError(f"record {url}: {reason}") from None
    except ImportError as error:
        raise ValueError(f"record {url}: {error}") from None
