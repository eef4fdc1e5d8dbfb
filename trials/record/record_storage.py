"""Optuna's database storage, changed to write a finished trial with one statement a table.

Before Optuna itself writes a parameter of a trial, it looks up the trial again, and the parameter
in the whole study: 150 statements at T = 8, and more at larger T. The rows are the same
(tests/trials/record/test_record_storage.py compares all tables), so that every tool that reads
Optuna's storages reads this one.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial


class RecordStorage(RDBStorage):
    """Writes a whole trial at once; everything else is as in RDBStorage."""

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        """Create a trial, without the retries that Optuna makes for a finished one.

        They would repeat a commit whose answer was lost; `trials.record.storage.outlast` looks
        whether the trial is there before it tries again.
        """
        if template_trial is None or not template_trial.state.is_finished():
            return super()._create_new_trial(study_id, template_trial)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            trial = self._get_prepared_new_trial(study_id, template_trial, session)
            frozen = copy.deepcopy(template_trial)
            frozen.number, frozen._trial_id = int(trial.number), int(trial.trial_id)
        return frozen

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> models.TrialModel:
        """Write the trial's rows in the session's transaction.

        Optuna's check that all distributions of a parameter are compatible is left out: a record
        makes them compatible.
        """
        if template_trial is None or not template_trial.state.is_finished():
            return super()._get_prepared_new_trial(study_id, template_trial, session)
        trial = models.TrialModel(
            study_id=study_id,
            number=None,
            state=template_trial.state,
            datetime_start=template_trial.datetime_start,
            datetime_complete=template_trial.datetime_complete,
        )
        session.add(trial)
        session.flush()
        for model, rows in _rows(template_trial).items():
            if rows:
                named = [{"trial_id": trial.trial_id, **row} for row in rows]
                session.execute(sqlalchemy.insert(model), named)
        trial.number = trial.count_past_trials(session)
        return trial


def _rows(trial: FrozenTrial) -> dict[Any, list[dict[str, Any]]]:
    """The rows of a trial, by the table that holds them."""
    params, values, intermediate = [], [], []
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        stored: Any = distribution.to_internal_repr(value)
        text = optuna.distributions.distribution_to_json(distribution)
        params.append({"param_name": name, "param_value": stored, "distribution_json": text})
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        values.append({"objective": objective, "value": stored, "value_type": kind})
    for step, value in trial.intermediate_values.items():
        model = models.TrialIntermediateValueModel
        stored, of_kind = model.intermediate_value_to_stored_repr(value)
        intermediate.append(
            {"step": step, "intermediate_value": stored, "intermediate_value_type": of_kind}
        )
    return {
        models.TrialValueModel: values,
        models.TrialParamModel: params,
        models.TrialUserAttributeModel: _attributes(trial.user_attrs),
        models.TrialSystemAttributeModel: _attributes(trial.system_attrs),
        models.TrialIntermediateValueModel: intermediate,
    }


def _attributes(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(v)} for key, v in attributes.items()]
