"""How sensitive the winner of a search is to each of its values, read off the search's record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from search.controls import best_searched
from search.optimiser import Evaluated
from search.sensitivity import Sensitivity, sensitivity
from search.space import Space
from trials.record.evaluation import Evaluation
from trials.record.kinds import what_is_searched
from trials.record.record import Record
from trials.results.results import MethodResult

Importance = Mapping[str, float]
"""The importance of each parameter of a study, by name: shares that sum to 1 (see
`Record.importance`)."""


def winners_sensitivity(
    searches: Sequence[Record], results: Sequence[MethodResult]
) -> Sensitivity | Importance:
    """Find out what the value of the best searched strategy depends on.

    The evaluations of all methods are used, because they are of one space and one objective. Where
    models were trained there are too few of them for a model of the schedules, and Optuna's
    importance takes its place.

    Args:
        searches: the records of the methods of one search.
        results: of its methods.

    Raises:
        ValueError: the record holds too little; the line says why.
    """
    winner = best_searched(results)
    record = next(
        (r for r in searches if winner and r.settings["optimiser"] == winner.method), None
    )
    if winner is None or record is None:
        raise ValueError("no search has a final test")
    settings = record.settings
    if what_is_searched(settings) != "generation":
        return record.importance()
    space = Space.from_json(settings["space"])
    return sensitivity(
        space, settings["objective"]["tokens"], _evaluated(searches), winner.strategy
    )


def _evaluated(searches: Sequence[Record]) -> list[Evaluated]:
    """The whole evaluations of the commonest n, in the order in which they finished.

    Methods that begin alike measure the same strategies under the same seeds. Each of these counts
    once, because a model predicts a left-out evaluation easily from its copy.
    """
    done = [
        e
        for record in searches
        for e in record.evaluations
        if e.measurement is not None and not e.stopped
    ]
    counts = Counter(e.images for e in done)
    images = counts.most_common(1)[0][0] if counts else 0
    found = [_as_evaluated(e) for e in sorted(done, key=_finished) if e.images == images]
    return [*{(one.strategy, one.seed): one for one in found}.values()]


def _finished(evaluation: Evaluation) -> tuple[object, int]:
    return evaluation.finished, evaluation.number


def _as_evaluated(evaluation: Evaluation) -> Evaluated:
    measured = evaluation.measurement
    value = float("nan") if measured is None else measured.value
    return Evaluated(evaluation.probe.strategy, value, evaluation.probe.seed)
