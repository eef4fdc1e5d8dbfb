"""How far a search is, from its records: for the terminal, and for whoever else watches it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from search.controls import CONTROLS, RULE_OF_THUMB, START, start_and_best
from search.first_strategies import first_strategies
from search.ledger import amount_asked, amount_done
from search.progress import MethodProgress, SearchProgress, Value
from search.space import Space
from search.strategy import GenerationStrategy
from trials.record.evaluation import Evaluation
from trials.record.kinds import (
    SEARCH,
    TEST,
    evaluations_of_one,
    final_test_study,
    reported_metric,
    tests_in_all,
    what_is_searched,
)
from trials.record.record import Record
from trials.results.pace import Ended, pace, seconds_left

ROUNDING = 1e-9
"""By how much a sum of saved shares may be too small."""


def search_progress(
    records: Sequence[Record],
    since: datetime | None = None,
    in_flight: Mapping[str, int] | None = None,
    first: Mapping[str, GenerationStrategy] | None = None,
) -> SearchProgress:
    """How far a search is.

    Args:
        records: of its studies, the final test last if there is one (see `search_records`).
        since: when the present session began, by local time. Its pace tells the time that is left;
            None if the search does not run.
        in_flight: evaluations that are being measured, by study; None if that is not known.
        first: the start and the controls that its methods measured first, by name
            (`controls_measured_first`); None finds them here.
    """
    settings = records[0].settings
    changing = any(r.unsettled for r in records if r.settings["kind"] == SEARCH)
    # While searches may change, a test that was reopened may have other winners.
    tested = any(r.settings["kind"] == TEST and not (r.reopened and changing) for r in records)
    methods = [_of_record(record, since, in_flight, tested) for record in records]
    if records[-1].settings["kind"] != TEST:
        methods.append(_untested(records[0]))
    searches = [record for record in records if record.settings["kind"] == SEARCH]
    trains = what_is_searched(settings) != "generation"
    controls = controls_measured_first(settings) if first is None else first
    at = pace(ended for record in records for ended in _session(record, since))
    open_ = sum(m.total - m.done for m in methods[:-1] if not m.finished)
    test = methods[-1]
    return SearchProgress(
        settings["search_name"],
        "training steps" if trains else "images",
        tuple(methods),
        _controls(searches, controls),
        seconds_left(at, settings, open_, max(0, test.total - (test.done if tested else 0))),
    )


def controls_measured_first(settings: Mapping[str, Any]) -> dict[str, GenerationStrategy]:
    """The strategies that the methods of a search may measure first, by name.

    Args:
        settings: of a study of the search.

    Returns:
        The start (called the rule of thumb if it is that) and the controls; only the start where
        trainings are searched.
    """
    told = settings.get("space")
    if told is None or "start" not in told or "generation" in told:
        return {}
    space = Space.from_json(told)
    found = first_strategies(space, settings["objective"]["tokens"])
    start = found.pop(START)
    name = RULE_OF_THUMB if start == CONTROLS[RULE_OF_THUMB](start.steps) else START
    return {name: start, **found}


def _of_record(
    record: Record, since: datetime | None, in_flight: Mapping[str, int] | None, tested: bool
) -> MethodProgress:
    done = record.evaluations
    tests = record.settings["kind"] == TEST
    total = tests_in_all(record.settings) if tests else evaluations_paid_for(record)
    finished = (tested and not tests) or (len(done) >= total and not record.reopened)
    at = pace(_session(record, since))
    return MethodProgress(
        study=record.name,
        method=None if tests else record.settings["optimiser"],
        metric=record.metric,
        done=len(done),
        failed=len(record.failed),
        total=total,
        finished=finished,
        best=None if tests else _lowest(record, since),
        speed=None if at is None else at.amount,
        left=None if finished or at is None else (total - len(done)) / at.evaluations,
        in_flight=None if in_flight is None else in_flight.get(record.name, 0),
    )


def evaluations_paid_for(record: Record) -> int:
    """The evaluations that the budget of a method pays for, with what stopped ones have saved."""
    saved = math.fsum(e.saved for e in record.evaluations)
    return math.floor(evaluations_of_one(record.settings) + saved + ROUNDING)


def _session(record: Record, since: datetime | None) -> list[Ended]:
    """The evaluations that ended in the present session."""
    if since is None:
        return []
    found = [e for e in record.evaluations if e.finished >= since]
    return [Ended(e.finished, _worked(e), _amount(e)) for e in found]


def _untested(record: Record) -> MethodProgress:
    """The final test that has not begun."""
    settings = record.settings
    total = tests_in_all(settings)
    study = final_test_study(settings["search_name"])
    return MethodProgress(study, None, reported_metric(settings), 0, 0, total, total == 0)


def _lowest(record: Record, since: datetime | None) -> Value | None:
    """The lowest comparable value.

    While failures are tried again, recorded evaluations may yet be superseded. They are left out,
    because the lowest value would rise with them.
    """
    found = [
        e.measurement
        for e in record.evaluations
        if e.measurement is not None
        and e.measurement.finite
        and not e.stopped
        and (since is None or e.finished >= since or not record.retried_at(e.probe.number))
    ]
    lowest = min(found, key=lambda measured: measured.value, default=None)
    return None if lowest is None else Value(lowest.value, lowest.standard_error)


def _controls(
    records: Sequence[Record], first: Mapping[str, GenerationStrategy]
) -> dict[str, Value]:
    """The first and the best of the strategies that the methods measured first."""
    found: dict[str, Value] = {}
    for record in records:
        for evaluation in record.evaluations:
            measured, probe = evaluation.measurement, evaluation.probe
            if measured is None or not measured.finite or evaluation.stopped:
                continue
            if probe.training is not None:
                name = START if probe.role == START else None
            elif probe.number < len(first):
                name = next((n for n, one in first.items() if one == probe.strategy), None)
            else:
                continue
            if name is not None:
                found.setdefault(name, Value(measured.value, measured.standard_error))
    return start_and_best(found)


def _worked(evaluation: Evaluation) -> float:
    measured = evaluation.measurement
    return 0.0 if measured is None or not math.isfinite(measured.seconds) else measured.seconds


def _amount(evaluation: Evaluation) -> int:
    """The images that were generated or, if a model was trained, the training steps."""
    measured = evaluation.measurement
    if measured is None:
        return amount_asked(evaluation.probe)
    return amount_done(evaluation.probe, measured)
