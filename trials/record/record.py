"""The record of a study: an Optuna study in its storage, one trial an evaluation.

The record is all that a search has to keep. Only the driver writes it, each evaluation in one
transaction when it ends, so that a kill at any moment leaves complete evaluations and nothing else.
The user attributes of a trial describe the evaluation; those of the study hold its settings.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from search.dimensions import SearchSpace
from search.measurement import Failure, Measurement, with_metric, with_precision
from search.optimiser import RETEST, Probe
from search.schedules import seek_schedules
from trials.record.best import Best, best_of_retests
from trials.record.databases import without_password
from trials.record.evaluation import Evaluation, evaluation_of, names_of, trial_of
from trials.record.evaluations_table import evaluations_table
from trials.record.kinds import FORMAT
from trials.record.retried import RETRIED, Retried
from trials.record.storage import open_storage, outlast, readable
from trials.record.studies import (
    ATTRIBUTES,
    StudyOf,
    all_names,
    made_by_us,
    missing,
    name_values,
    not_ours,
)

if TYPE_CHECKING:
    import pandas as pd

FEWEST_FOR_IMPORTANCE = 10
"""Evaluations below which an importance says nothing."""


class Record:
    """The evaluations of one study, kept in an Optuna storage.

    Attributes:
        name: the name of the study.
        study_id: a random text that identifies the study, unlike its name, in any storage.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self._study, self._storage = study, storage
        # Read once: the storage may not answer later.
        told = study.user_attrs
        self.name, self.study_id = study.study_name, str(told["study_id"])
        self._settings = dict(told["settings"])
        objective = self._settings.get("objective") or {}
        if "protocol" in self._settings:
            self._settings["protocol"] = with_precision(
                with_metric(self._settings["protocol"] or {}), objective.get("settings")
            )
        self._converged: int | None = told.get("converged")
        self._anchors: dict[str, float] | None = told.get("anchors")
        self._retried = Retried.from_json(told.get(RETRIED))
        void = self._retried.superseded
        trials = study.get_trials(deepcopy=False)
        self._named = names_of(trials)
        seek_schedules(_schedules_in(self._settings, trials), objective.get("name"))
        found = [evaluation_of(trial) for trial in trials]
        self._superseded = [e for e in found if e.number in void]
        self._note_all(e for e in found if e.number not in void)

    @classmethod
    def create(cls, url: str, name: str, settings: Mapping[str, Any]) -> Record:
        """Create a record with these settings (JSON values).

        Raises:
            ValueError: a study of that name exists, or the storage cannot be written.
        """
        with readable(url):
            storage = open_storage(url)
            study = optuna.create_study(
                study_name=name, storage=storage, direction="minimize", load_if_exists=True
            )
            attributes = study.user_attrs
            ours = made_by_us(storage, study._study_id)
            if ours is not None:
                raise ValueError(f"study {name} exists already") if ours else not_ours(url, name)
            # Where the study exists, its creator was killed. The format is written last.
            if "study_id" not in attributes:
                study.set_user_attr("study_id", uuid.uuid4().hex)
            study.set_user_attr("settings", dict(settings))
            of = StudyOf.of_settings(settings)
            for attribute in ATTRIBUTES if of is not None else ():
                if (value := getattr(of, attribute)) is not None:
                    study.set_user_attr(attribute, value)
            name_values(study, settings)
            study.set_user_attr("format", FORMAT)
            return cls(study, storage)

    @classmethod
    def open(cls, url: str, name: str) -> Record:
        """Open the record of an existing study.

        Raises:
            ValueError: there is no study of that name (the known ones are listed), the study is not
                autonat's, or the storage cannot be read.
        """
        with readable(url):
            storage = None if missing(url) else open_storage(url)
            names = [] if storage is None else all_names(storage)
            if storage is None or name not in names:
                known = ", ".join(names) or "none"
                raise ValueError(f"no study {name!r} in {without_password(url)}; known: {known}")
            study = optuna.load_study(study_name=name, storage=storage)
            found = study.user_attrs.get("format")
            if found != FORMAT:
                raise ValueError(f"study {name}: format = {found!r} is unknown; known: {FORMAT!r}")
            return cls(study, storage)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the study, as given to `create`."""
        return dict(self._settings)

    @property
    def metric(self) -> str:
        """The name of the metric of its values, from the protocol of its objective."""
        return str(self._settings.get("protocol", {}).get("metric", "fid"))

    def parameters(self, probe: Probe) -> dict[str, float]:
        """All values of a generation strategy, under the names that they have in this record."""
        strategy = probe.strategy
        return {self._named(k, strategy.steps): v for k, v in strategy.parameters().items()}

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All finished evaluations, in the order in which they finished."""
        return tuple(self._evaluations)

    def add(self, probe: Probe, result: Measurement | Failure, space: SearchSpace | None) -> None:
        """Write an evaluation, which is stored when this returns.

        A database server that does not answer is waited for.

        Raises:
            ValueError: the storage cannot be written.
        """
        finished = datetime.now()
        trial = trial_of(probe, result, space, finished, self._named)
        # Not through the study, whose cache would keep a deep copy of every trial.
        number = self._study._study_id
        with readable(self.name):
            outlast(
                self._storage,
                lambda: self._storage.create_new_trial(number, trial),
                lambda: self._holds(probe),
            )
        count = len(self._evaluations) + len(self._superseded)
        self._note(Evaluation(count, probe, result, finished))

    @property
    def superseded(self) -> tuple[Evaluation, ...]:
        """Evaluations that stay in the storage but no longer count.

        They are failures that were tried again, and evaluations that the search asked for only
        because of these failures.
        """
        return tuple(self._superseded)

    @property
    def failed(self) -> tuple[Evaluation, ...]:
        """Evaluations without a measurement."""
        return tuple(e for e in self._evaluations if e.measurement is None)

    def retried_at(self, probe: int) -> bool:
        """Whether a probe of that number may differ from the recorded one.

        That is so where an earlier evaluation failed and is tried again.
        """
        return self._retried.since is not None and probe >= self._retried.since

    def retry_failed(self) -> None:
        """Supersede the failures, so that their probes are asked for and measured again.

        Raises:
            ValueError: the storage cannot be written.
        """
        if self.failed and self._converged is not None:
            # With the failures tried again, the search may converge later, or never.
            self._write("converged", None)
            self._converged = None
        self.supersede(self.failed)

    def supersede(self, evaluations: Collection[Evaluation]) -> None:
        """Mark evaluations as superseded, so that they no longer count.

        Raises:
            ValueError: the storage cannot be written.
        """
        if not evaluations:
            return
        void = {e.number for e in evaluations}
        since = min(e.probe.number for e in evaluations)
        self._write_retried(self._retried.supersede(void, since))
        self._superseded += evaluations
        self._note_all([e for e in self._evaluations if e.number not in void])

    @property
    def unsettled(self) -> bool:
        """Whether recorded evaluations may be superseded, because failures are tried again."""
        return self._retried.since is not None

    @property
    def reopened(self) -> bool:
        """Whether the study may still have evaluations superseded, although it looks complete."""
        return self._retried.reopened

    def reopen(self) -> None:
        """Note that any probe may differ from the recorded one, until `settle` is called.

        Raises:
            ValueError: the storage cannot be written.
        """
        self._write_retried(self._retried.reopen())

    def settle(self) -> None:
        """Note that every recorded probe that is not superseded was asked for again.

        Raises:
            ValueError: the storage cannot be written.
        """
        self._write_retried(self._retried.settle())

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the settings that were given to `create`.

        Raises:
            ValueError: the storage cannot be written.
        """
        self._write("settings", dict(settings))
        self._settings = dict(settings)

    def _write_retried(self, retried: Retried) -> None:
        if retried != self._retried:
            self._write(RETRIED, retried.to_json())
            self._retried = retried

    def _write(self, attribute: str, value: Any) -> None:
        with readable(self.name):
            outlast(
                self._storage,
                lambda: self._study.set_user_attr(attribute, value),
                lambda: False,
            )

    def _note_all(self, evaluations: Iterable[Evaluation]) -> None:
        self._evaluations: list[Evaluation] = []
        self._lowest: tuple[Measurement, Probe] | None = None
        self._retests: list[tuple[Probe, float]] = []
        for evaluation in evaluations:
            self._note(evaluation)

    def _note(self, evaluation: Evaluation) -> None:
        """Add an evaluation, and update the best one, which is read after every evaluation."""
        self._evaluations.append(evaluation)
        probe, measured = evaluation.probe, evaluation.measurement
        if measured is None or evaluation.stopped:
            return
        if probe.role == RETEST:
            self._retests.append((probe, measured.value))
        lowest = self._lowest
        if lowest is None or (measured.value, probe.number) < (lowest[0].value, lowest[1].number):
            self._lowest = (measured, probe)

    def _holds(self, probe: Probe) -> bool:
        """Whether the storage holds an evaluation of the probe that counts."""
        trials = self._storage.get_all_trials(self._study._study_id, deepcopy=False)
        void = self._retried.superseded
        return any(t.user_attrs["probe"] == probe.number for t in trials if t.number not in void)

    @property
    def converged(self) -> int | None:
        """After how many evaluations the search reported that it had converged; None if it did
        not."""
        return self._converged

    def note_converged(self, evaluations: int) -> None:
        """Write down, only once, that the search has converged after so many evaluations.

        Raises:
            ValueError: the storage cannot be written.
        """
        if self._converged is None:
            self._write("converged", evaluations)
            self._converged = evaluations

    @property
    def anchors(self) -> dict[str, float] | None:
        """The reference values beside a final test, by name (see trials.results.anchors).

        None before they are written, and in old records.
        """
        return self._anchors

    def note_anchors(self, fids: Mapping[str, float]) -> None:
        """Write the reference values, only once.

        Raises:
            ValueError: the storage cannot be written.
        """
        if self._anchors is None:
            self._write("anchors", dict(fids))
            self._anchors = dict(fids)

    def best(self) -> Best | None:
        """The winner of the search, or None where nothing was measured.

        It is the best of the re-tests. Where there are none, it is the strategy with the lowest
        single value, and of equal values the earlier probe.
        """
        retests = self._retests
        if not retests:
            if self._lowest is None:
                return None
            best, probe = self._lowest
            return Best(probe.strategy, best.value, probe.training, best.checkpoint)
        return best_of_retests(retests)

    def importance(self) -> dict[str, float]:
        """Optuna's importance (PED-ANOVA) of each searched parameter, the largest first.

        It is the share of the parameter in what sets the best tenth of the evaluations, at least
        five of them, apart from the others.

        Raises:
            ValueError: there are fewer than FEWEST_FOR_IMPORTANCE evaluations.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        done = sum(e.measurement is not None and not e.stopped for e in self._evaluations)
        if done < FEWEST_FOR_IMPORTANCE:
            raise ValueError(
                f"Optuna's importance needs {FEWEST_FOR_IMPORTANCE} evaluations, and there are "
                f"{done}"
            )
        with warnings.catch_warnings():  # Optuna says that the evaluator is an experiment
            warnings.simplefilter("ignore", ExperimentalWarning)
            evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, 5 / done)))
        counting = optuna.create_study(direction="minimize")
        numbers = {e.number for e in self._evaluations}  # without those that were superseded
        counting.add_trials([t for t in self._study.get_trials(False) if t.number in numbers])
        return dict(get_param_importances(counting, evaluator=evaluator))

    def frame(self) -> pd.DataFrame:
        """The evaluations as a table (see `trials.record.evaluations_table`)."""
        return evaluations_table(self._evaluations)


def _schedules_in(settings: Mapping[str, Any], trials: Iterable[FrozenTrial]) -> set[str]:
    """The names of all schedules in the space and the strategies of a record."""
    space = settings.get("space") or {}
    searched = set(space["bounds"]) if "start" in space else set()
    strategies = (trial.user_attrs.get("strategy", {}) for trial in trials)
    measured = {name for s in strategies for name, value in s.items() if isinstance(value, list)}
    return measured | searched
