"""The searches of a lab, read from the record with a few queries, however large it is.

The queries go to the tables of Optuna's storage directly. Importing Optuna takes longer than they
do, and Optuna would read every trial.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import ColumnElement, bindparam, column, false, func, not_, or_, select, table
from sqlalchemy.engine import Connection

from search.measurement import with_metric
from search.user_code import in_one_line
from trials.lab import Lab
from trials.record.databases import one_line, sqlite_file
from trials.record.driver import ATTRIBUTE, Driver
from trials.record.kinds import (
    ALTERNATION,
    SEARCH,
    TEST,
    evaluations_of_one,
    evaluations_of_rounds,
    is_our_format,
    reported_metric,
    tests_in_all,
    what_is_searched,
)
from trials.record.retried import RETRIED, Retried
from trials.results.announced import Announced, announcements

STUDIES = table("studies", column("study_id"), column("study_name"))
STUDY_ATTRIBUTES = table(
    "study_user_attributes", column("study_id"), column("key"), column("value_json")
)
TRIALS = table(
    "trials",
    *map(column, ("trial_id", "study_id", "state")),
    column("number", sqlalchemy.Integer()),
    column("datetime_complete", sqlalchemy.DateTime()),
)
VALUES = table("trial_values", column("trial_id"), column("value"))
TRIAL_ATTRIBUTES = table(
    "trial_user_attributes", column("trial_id"), column("key"), column("value_json")
)
ATTRIBUTES_READ = ("format", "study_id", "settings", ATTRIBUTE, RETRIED)
"""The user attributes of a study that say what it is."""


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
        state: "preparing"; "running"; "done", when its final test is done; "failed", when nothing
            could be measured; or "interrupted".
        lowest_value: the lowest value of one evaluation, which is biased low; None before there is
            one.
        value: the lowest mean of its methods in the final test; None before there is one.
        last: when its last evaluation ended, in local time; None before there is one.
        alternation: the name of the alternation of which it is half a round, or None.
        metric: the name of the metric of `lowest_value`.
        test_metric: the name of the metric of `value`.
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
    lowest_value: float | None
    value: float | None
    last: datetime | None
    alternation: str | None = None
    metric: str = "fid"
    test_metric: str = "fid"

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        last = None if self.last is None else self.last.isoformat(" ", "seconds")
        names = {"lowest_value": "lowest_fid", "value": "fid"}
        told = {names.get(name, name): value for name, value in vars(self).items()}
        return told | {"methods": list(self.methods), "last": last}


def searches(lab: Lab, damaged: Callable[[str, str], None] = lambda *_: None) -> list[Listed]:
    """All searches of a lab: those that are being prepared, and those in the record, the one with
    the latest evaluation first.

    Args:
        lab: the lab; its record need not exist yet.
        damaged: called with the name of each study that is damaged and left out, and a line.

    Raises:
        ValueError: the record cannot be read.
    """
    named, alternations = by_search(_studies_of(lab.record_url, damaged))
    found = [listed(name, of) for name, of in named.items()]
    for name, study in alternations.items():
        halves = [half for half in found if half.alternation == name]
        found.append(listed_alternation(lab, name, study, halves))
    prepared = announcements(lab)
    known = {one.name for one in found}
    new = [listed_announced(one) for name, (one, _) in prepared.items() if name not in known]
    found = [replace(s, state="preparing") if s.name in prepared else s for s in found]
    return [*new, *latest_first(found)]


def _studies_of(url: str, damaged: Callable[[str, str], None]) -> list[StudySummary]:
    """The studies of a record, which need not exist yet."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return []
    with one_line("record", url):
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                if not sqlalchemy.inspect(connection).has_table("studies"):
                    return []
                return _studies(connection, damaged)
        finally:
            engine.dispose()


def listed_announced(search: Announced) -> Listed:
    """The entry of a search that has no record yet."""
    told = {**vars(search), "methods": tuple(search.methods), "state": "preparing"}
    return Listed(**told, evaluations=0, failed=0, lowest_value=None, value=None, last=None)


@dataclass
class StudySummary:
    """What a study says of itself, and what its trials add up to.

    Attributes:
        settings: of the study.
        driver: the process that runs it, or None.
        retried: which of its trials are superseded.
        complete: successful evaluations.
        failed: failed evaluations.
        lowest: the lowest value; infinite before there is one.
        last: when its last evaluation ended.
        tested: the values of a final test, by role.
        study_id: a random text that identifies the study in any storage.
    """

    settings: dict[str, Any]
    driver: Driver | None
    retried: Retried
    complete: int = 0
    failed: int = 0
    lowest: float = math.inf
    last: datetime | None = None
    tested: dict[str, list[float]] | None = None
    study_id: str | None = None


T = TypeVar("T", bound=Listed)


def latest_first(found: list[T]) -> list[T]:
    """Searches in the order in which they are listed."""
    return sorted(found, key=lambda s: (s.last or datetime.min, s.name), reverse=True)


def by_search(
    studies: Iterable[StudySummary],
) -> tuple[dict[str, list[StudySummary]], dict[str, StudySummary]]:
    """The studies of each search by its name, and the study of each alternation by its name."""
    named: dict[str, list[StudySummary]] = defaultdict(list)
    alternations: dict[str, StudySummary] = {}
    for study in studies:
        name = study.settings["search_name"]
        if study.settings["kind"] == ALTERNATION:
            alternations[name] = study
        else:
            named[name].append(study)
    return named, alternations


def summary_of(name: str, attributes: Mapping[str, str]) -> StudySummary | None:
    """What a study says of itself; None where it is not autonat's, or not completely created.

    Args:
        name: of the study.
        attributes: its user attributes ATTRIBUTES_READ, as the JSON texts that are stored.

    Raises:
        ValueError: an attribute is damaged.
    """
    try:
        told = {key: json.loads(value) for key, value in attributes.items()}
        if not is_our_format(told.get("format")) or "search_name" not in told["settings"]:
            return None
        settings, driver = told["settings"], told.get(ATTRIBUTE)
        if settings["kind"] != ALTERNATION:  # what every other use of the settings relies on
            evaluations_of_one(settings)
            _metric(settings)
            [str(name) for name in settings["search"]["optimisers"]]
            [int(seed) for seed in settings["search"]["test_seeds"]]
        else:
            evaluations_of_rounds(settings)
            str(settings["search"]["training_optimiser"])
        int(settings["search"]["steps"])
        str(settings["search"]["objective"])
        return StudySummary(
            settings,
            Driver(**driver) if driver else None,
            Retried.from_json(told.get(RETRIED)),
            study_id=told.get("study_id"),
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"study {name} is damaged and left out: {in_one_line(error)}") from None


def read_attributes(connection: Connection) -> dict[int, tuple[str, dict[str, str]]]:
    """The name and the user attributes ATTRIBUTES_READ of every study, by its number in the
    storage."""
    names = select(STUDIES.c.study_id, STUDIES.c.study_name)
    found: dict[int, tuple[str, dict[str, str]]] = {
        number: (name, {}) for number, name in connection.execute(names)
    }
    asked = select(STUDY_ATTRIBUTES).where(STUDY_ATTRIBUTES.c.key.in_(ATTRIBUTES_READ))
    for number, key, value in connection.execute(asked):
        if number in found:
            found[number][1][key] = value
    return found


def _studies(connection: Connection, damaged: Callable[[str, str], None]) -> list[StudySummary]:
    found: dict[int, StudySummary] = {}
    for number, (name, attributes) in read_attributes(connection).items():
        try:
            summary = summary_of(name, attributes)
        except ValueError as error:
            damaged(name, str(error))
            continue
        if summary is not None:
            found[number] = summary
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
        select(TRIALS.c.study_id, TRIAL_ATTRIBUTES.c.value_json, VALUES.c.value)
        .select_from(
            TRIALS.join(TRIAL_ATTRIBUTES, TRIAL_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id).join(
                VALUES, VALUES.c.trial_id == TRIALS.c.trial_id
            )
        )
        .where(TRIAL_ATTRIBUTES.c.key == "role", TRIALS.c.study_id.in_(tests), valid)
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


def listed(name: str, studies: Sequence[StudySummary]) -> Listed:
    """The entry of a search.

    Args:
        name: of the search.
        studies: its studies, at least one.
    """
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
        and test.complete + test.failed >= tests_in_all(test.settings)
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
        # What stopped evaluations left of the budget pays for more.
        budgeted=max(
            evaluations_of_one(studies[0].settings) * len(search["optimisers"]), measured + failed
        ),
        state=_state(running, done, measured, failed),
        lowest_value=seen if math.isfinite(seen) else None,
        value=min(means, default=None),
        last=max(filter(None, (study.last for study in studies)), default=None),
        alternation=search.get("alternation"),
        metric=_metric((of or studies)[0].settings),
        test_metric=reported_metric(studies[0].settings),
    )


def listed_alternation(
    lab: Lab, name: str, study: StudySummary, halves: Sequence[Listed]
) -> Listed:
    """The entry of an alternation: it sums up its searches, with the values of the generation
    ones."""
    ended = (lab.results(name) / "best.json").exists()
    search = study.settings["search"]
    generation = [half for half in halves if half.what == "generation"]
    running = study.driver is not None and study.driver.alive()
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
        budgeted=evaluations_of_rounds(study.settings),
        state=_state(running, ended, measured, failed),
        lowest_value=min(
            (h.lowest_value for h in generation if h.lowest_value is not None), default=None
        ),
        value=min((h.value for h in generation if h.value is not None), default=None),
        last=max((half.last for half in halves if half.last), default=None),
        metric=next((half.metric for half in halves), "fid"),
        test_metric=next((half.test_metric for half in halves), "fid"),
    )


def _state(running: bool, done: bool, measured: int, failed: int) -> str:
    if running:
        return "running"
    if failed and not measured:
        return "failed"
    return "done" if done else "interrupted"


def _metric(settings: Mapping[str, Any]) -> str:
    return str(with_metric(settings.get("protocol") or {})["metric"])
