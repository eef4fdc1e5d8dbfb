"""The searches of a lab, read from the record with a few queries, however large it is.

The queries go to the tables of Optuna's storage directly. Importing Optuna takes longer than they
do, and Optuna would read every trial.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, bindparam, column, false, func, not_, or_, select, table
from sqlalchemy.engine import Connection

from search.measurement import with_metric
from trials.lab import Lab
from trials.record.databases import one_line, sqlite_file
from trials.record.driver import ATTRIBUTE, Driver
from trials.record.kinds import (
    ALTERNATION,
    SEARCH,
    TEST,
    evaluations_of_one,
    is_our_format,
    what_is_searched,
)
from trials.record.retried import RETRIED, Retried

STUDIES = table("study_user_attributes", column("study_id"), column("key"), column("value_json"))
TRIALS = table(
    "trials",
    *map(column, ("trial_id", "study_id", "state")),
    column("number", sqlalchemy.Integer()),
    column("datetime_complete", sqlalchemy.DateTime()),
)
VALUES = table("trial_values", column("trial_id"), column("value"))
ROLES = table("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))


@dataclass(frozen=True)
class Listed:
    """A search of a lab.

    Attributes:
        name: of the search, or of an alternation, whose searches are listed as well.
        objective: the name of its objective.
        what: what is searched.
        steps: T.
        methods: the optimisers, in their order.
        evaluations: successful evaluations, without those of the final test.
        failed: failed evaluations.
        budgeted: evaluations that the budget pays for; fewer are made where a method converges.
        state: "running"; "done", when its final test is done; "failed", when nothing could be
            measured; or "interrupted".
        search_value: the lowest value that it saw, which is biased low; None before there is one.
        value: the lowest mean of its methods in the final test; None before there is one.
        last: when its last evaluation ended, in local time; None before there is one.
        alternation: the name of the alternation of which it is half a round, or None.
        metric: the name of the metric of its values.
    """

    name: str
    objective: str
    what: str
    steps: int
    methods: tuple[str, ...]
    evaluations: int
    failed: int
    budgeted: int
    state: str
    search_value: float | None
    value: float | None
    last: datetime | None
    alternation: str | None = None
    metric: str = "fid"

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        last = None if self.last is None else self.last.isoformat(" ", "seconds")
        names = {"search_value": "search_fid", "value": "fid"}
        told = {names.get(name, name): value for name, value in vars(self).items()}
        return told | {"methods": list(self.methods), "last": last}


def searches(lab: Lab) -> list[Listed]:
    """All searches in the record of a lab, the one with the latest evaluation first.

    Args:
        lab: the lab; its record need not exist yet.

    Raises:
        ValueError: the record cannot be read.
    """
    url = lab.record_url
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return []
    with one_line("record", url):
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                if not sqlalchemy.inspect(connection).has_table("studies"):
                    return []
                studies = _studies(connection)
        finally:
            engine.dispose()
    named: dict[str, list[_Study]] = defaultdict(list)
    for study in studies:
        named[study.settings["search_name"]].append(study)
    alternations = {name for name, of in named.items() if of[0].settings["kind"] == ALTERNATION}
    found = [_listed(name, of) for name, of in named.items() if name not in alternations]
    for name in alternations:
        halves = [half for half in found if half.alternation == name]
        ended = (lab.results(name) / "best.json").exists()
        found.append(_alternation(name, named[name][0], halves, ended))
    return sorted(found, key=lambda s: (s.last or datetime.min, s.name), reverse=True)


@dataclass
class _Study:
    settings: dict[str, Any]
    driver: Driver | None
    retried: Retried
    complete: int = 0
    failed: int = 0
    lowest: float = math.inf
    last: datetime | None = None
    tested: dict[str, list[float]] | None = None


def _studies(connection: Connection) -> list[_Study]:
    told: dict[int, dict[str, Any]] = defaultdict(dict)
    asked = ("format", "settings", ATTRIBUTE, RETRIED)
    for study, key, value in connection.execute(select(STUDIES).where(STUDIES.c.key.in_(asked))):
        told[study][key] = json.loads(value)
    # Studies of other programs, and incompletely created ones, lack our format.
    found = {
        study: _Study(
            a["settings"],
            Driver(**a[ATTRIBUTE]) if a.get(ATTRIBUTE) else None,
            Retried.from_json(a.get(RETRIED)),
        )
        for study, a in told.items()
        if is_our_format(a.get("format")) and "search_name" in a["settings"]
    }
    valid = _not_superseded({number: study.retried.superseded for number, study in found.items()})
    sums = (
        select(
            TRIALS.c.study_id,
            TRIALS.c.state,
            func.count(),
            func.min(VALUES.c.value),
            func.max(TRIALS.c.datetime_complete),
        )
        .select_from(TRIALS.outerjoin(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id))
        .where(valid)
        .group_by(TRIALS.c.study_id, TRIALS.c.state)
    )
    for number, state, count, lowest, last in connection.execute(sums):
        if number in found:
            study = found[number]
            study.failed += count if state == "FAIL" else 0
            study.complete += count if state in ("COMPLETE", "PRUNED") else 0
            study.lowest = min(study.lowest, math.inf if lowest is None else lowest)
            study.last = max(filter(None, (study.last, last)), default=None)
    tests = [number for number, study in found.items() if study.settings["kind"] == TEST]
    fids = (
        select(TRIALS.c.study_id, ROLES.c.value_json, VALUES.c.value)
        .select_from(
            TRIALS.join(ROLES, ROLES.c.trial_id == TRIALS.c.trial_id).join(
                VALUES, VALUES.c.trial_id == TRIALS.c.trial_id
            )
        )
        .where(ROLES.c.key == "role", TRIALS.c.study_id.in_(tests), valid)
    )
    for number, role, fid in connection.execute(fids):
        study = found[number]
        study.tested = study.tested or defaultdict(list)
        study.tested[json.loads(role)].append(fid)
    return list(found.values())


def _not_superseded(superseded: Mapping[int, Collection[int]]) -> ColumnElement[bool]:
    """The condition that a trial is not superseded.

    The numbers are written into the statement, because a statement takes few parameters.

    Args:
        superseded: the numbers of superseded trials, by study.
    """
    void = (
        (TRIALS.c.study_id == study)
        & TRIALS.c.number.in_(
            bindparam(None, sorted(numbers), expanding=True, literal_execute=True)
        )
        for study, numbers in superseded.items()
        if numbers
    )
    return not_(or_(false(), *void))


def _listed(name: str, studies: Sequence[_Study]) -> Listed:
    of = [study for study in studies if study.settings["kind"] == SEARCH]
    test = next((s for s in studies if s.settings["kind"] == TEST), None)
    search = studies[0].settings["search"]
    seen = min((study.lowest for study in of), default=math.inf)
    reopened = test is not None and test.retried.reopened  # its winners may change
    tested = {} if test is None or test.tested is None or reopened else test.tested
    seeds = len(search["test_seeds"])
    means = [
        math.fsum(fids) / seeds
        for method, fids in tested.items()
        if method in search["optimisers"] and len(fids) == seeds
    ]
    running = any(s.driver is not None and s.driver.alive() for s in studies)
    done = (
        test is not None
        and not reopened
        and test.complete + test.failed >= seeds * len(test.settings["strategies"])
    )
    measured, failed = sum(study.complete for study in of), sum(study.failed for study in of)
    return Listed(
        name=name,
        objective=search["objective"],
        what=what_is_searched(studies[0].settings),
        steps=search["steps"],
        methods=tuple(search["optimisers"]),
        evaluations=measured,
        failed=failed,
        budgeted=evaluations_of_one(studies[0].settings) * len(search["optimisers"]),
        state=_state(running, done, measured, failed),
        search_value=seen if math.isfinite(seen) else None,
        value=min(means, default=None),
        last=max(filter(None, (study.last for study in studies)), default=None),
        alternation=search.get("alternation"),
        metric=_metric(studies[0].settings),
    )


def _alternation(name: str, study: _Study, halves: list[Listed], ended: bool) -> Listed:
    """The entry of an alternation: it sums up its searches, with the values of the generation
    ones."""
    search = study.settings["search"]
    generation = [half for half in halves if half.what == "generation"]
    running = study.driver is not None and study.driver.alive()
    each = search["budget"] // search["images_per_evaluation"]
    each += search["training_budget"] // search["training_steps"]
    measured = sum(half.evaluations for half in halves)
    failed = sum(half.failed for half in halves)
    return Listed(
        name=name,
        objective=search["objective"],
        what=search["what"],
        steps=search["steps"],
        methods=(search["training_optimiser"], *search["optimisers"]),
        evaluations=measured,
        failed=failed,
        budgeted=int(each * search["rounds"]),
        state=_state(running, ended, measured, failed),
        search_value=min(
            (h.search_value for h in generation if h.search_value is not None), default=None
        ),
        value=min((h.value for h in generation if h.value is not None), default=None),
        last=max((half.last for half in halves if half.last), default=None),
        metric=next((half.metric for half in halves), "fid"),
    )


def _state(running: bool, done: bool, measured: int, failed: int) -> str:
    if running:
        return "running"
    if failed and not measured:
        return "failed"
    return "done" if done else "interrupted"


def _metric(settings: Mapping[str, Any]) -> str:
    return str(with_metric(settings.get("protocol") or {})["metric"])
