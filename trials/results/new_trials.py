"""Reads the trials that were added to a study since the last look, as they are stored.

The queries go to the tables of Optuna's storage directly, and change nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import and_, cast, column, func, or_, select, table
from sqlalchemy.engine import Connection

from search.measurement import with_metric
from trials.record.kinds import TEST, what_is_searched
from trials.results.listing import TRIAL_ATTRIBUTES, VALUES, StudySummary
from trials.results.tally import Trial

TRIALS = table(
    "trials",
    *map(column, ("trial_id", "study_id", "state", "datetime_start", "datetime_complete")),
    column("number", sqlalchemy.Integer()),
)
STEPS = table("trial_intermediate_values", column("trial_id"), column("step"))
FIRST = tuple(map(str, range(8)))
"""The numbers of the first probes, which may be controls, as they are stored."""
NEEDED = {"seed": ("role",), "probe": ("role", "strategy")}
"""What a trial must say of itself besides, where it says one of these numbers."""
Damage = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading damaged attributes raises."""


class Row(NamedTuple):
    """A trial as it is stored: texts that may be damaged."""

    trial_id: int
    number: Any
    state: Any
    started: Any
    finished: Any
    value: Any
    images: str | None
    attributes: Mapping[str, Any]

    def trial(self) -> Trial:
        """Read the trial; raises one of Damage if that is not possible."""
        told = {k: json.loads(v) if isinstance(v, str) else v for k, v in self.attributes.items()}
        _check(told)
        return Trial(
            self.trial_id,
            int(self.number),
            str(self.state),
            _time(self.started),
            _time(self.finished),
            None if self.value is None else float(self.value),
            int(told.pop("images", None) or json.loads(self.images or "0")),
            told,
        )


def _check(told: Mapping[str, Any]) -> None:
    """Raise one of Damage unless a trial says all that its tally relies on."""
    if not isinstance(error := told.get("error"), int | float | None):
        raise ValueError(f"expected a number as standard error, got {error!r}")
    for key, others in NEEDED.items():
        if key in told:
            int(told[key])
            if missing := [other for other in others if other not in told]:
                raise ValueError(f"expected a {' and a '.join(others)}, got no {missing[0]}")


def new_rows(
    connection: Connection, number: int, summary: StudySummary, after: int, last: int
) -> Iterator[Row]:
    """The finished trials of a study with an id above `after` and up to `last`, in their order.

    Those recorded meanwhile wait for the next look: some of these queries would miss them.
    """
    new = and_(TRIALS.c.study_id == number, TRIALS.c.trial_id > after, TRIALS.c.trial_id <= last)
    attributes = _attributes(connection, new, summary)
    images = TRIAL_ATTRIBUTES.alias()
    asked = (
        select(
            *(TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state),
            *(TRIALS.c.datetime_start, TRIALS.c.datetime_complete),
            *(VALUES.c.value, images.c.value_json),
        )
        .select_from(
            TRIALS.outerjoin(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id).outerjoin(
                images, and_(images.c.trial_id == TRIALS.c.trial_id, images.c.key == "images")
            )
        )
        .where(new)
        .order_by(TRIALS.c.trial_id)
    )
    for row in connection.execute(asked):
        yield Row(*row, attributes.get(row.trial_id, {}))


def _attributes(
    connection: Connection, new: sqlalchemy.ColumnElement[bool], summary: StudySummary
) -> dict[int, dict[str, Any]]:
    """What else is read of the trials that need it, by their ids."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    errors, state = error_names(summary), cast(TRIALS.c.state, sqlalchemy.String)
    trials: sqlalchemy.FromClause = TRIALS
    some, keys = new, ("role", "seed", *errors)
    if summary.settings["kind"] != TEST:
        probes = TRIAL_ATTRIBUTES.alias()
        trials = TRIALS.outerjoin(
            probes, and_(probes.c.trial_id == TRIALS.c.trial_id, probes.c.key == "probe")
        )
        some = and_(new, or_(state == "FAIL", probes.c.value_json.in_(FIRST)))
        keys = ("reason", "probe", "role", "strategy", *errors)
    told = (
        select(TRIALS.c.trial_id, TRIAL_ATTRIBUTES.c.key, TRIAL_ATTRIBUTES.c.value_json)
        .select_from(
            trials.join(TRIAL_ATTRIBUTES, TRIAL_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id)
        )
        .where(some, TRIAL_ATTRIBUTES.c.key.in_(keys))
    )
    for trial, key, text in connection.execute(told):
        found[trial]["error" if key in errors else key] = text
    if what_is_searched(summary.settings) == "generation":
        # Of a trial that was stopped early, the last step is the images that it generated.
        stopped = (
            select(STEPS.c.trial_id, func.max(STEPS.c.step))
            .select_from(TRIALS.join(STEPS, STEPS.c.trial_id == TRIALS.c.trial_id))
            .where(new, state == "PRUNED")
            .group_by(STEPS.c.trial_id)
        )
        for trial, n in connection.execute(stopped):
            found[trial]["images"] = n
    return found


def _time(stored: Any) -> datetime | None:
    """A time, which SQLite stores as text."""
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored


def error_names(summary: StudySummary) -> tuple[str, ...]:
    """The names that the standard error of a value may have."""
    metric = with_metric(summary.settings.get("protocol") or {})["metric"]
    return tuple(dict.fromkeys((f"{metric}_se", "fid_se")))
