"""The results of an alternation: its rounds, each with its two searches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from search.controls import START
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.record.kinds import alternation_study
from trials.record.record import Record
from trials.record.searches import alternation_names, has_finished, search_records
from trials.results.results import MethodResult, method_results

BEFORE = "before"
"""The name of the state before an alternation, among its results."""


@dataclass(frozen=True)
class Round:
    """The result of one round.

    Attributes:
        training: the name of its training search.
        generation: the name of its generation search.
        best: the strategy file of the generation search's winner, with the model's checkpoint.
    """

    training: str
    generation: str
    best: StrategyFile


def half_name(alternation: str, number: int, what: str) -> str:
    """The name of the search that is half of a round.

    Args:
        alternation: the name of the alternation.
        number: of the round, from 1.
        what: "training" or "generation", which the search searches.
    """
    return f"{alternation}-r{number}-{what}"


def recorded_rounds(lab: Lab, name: str) -> list[Round]:
    """The finished rounds of an alternation."""
    rounds: list[Round] = []
    while True:
        number = len(rounds) + 1
        training, generation = (half_name(name, number, w) for w in ("training", "generation"))
        best = lab.results(generation) / "best.json"
        finished = all(has_finished(lab.record_url, half) for half in (training, generation))
        if not (finished and best.exists()):
            return rounds
        rounds.append(Round(training, generation, StrategyFile.read(best)))


def recorded_results(lab: Lab, name: str) -> tuple[list[Record], list[MethodResult]]:
    """The records and the results of a search; of an alternation the results of its rounds, and the
    records of its first search of generation strategies, both empty before a round is done.

    Raises:
        ValueError: there is no search or alternation of that name.
    """
    if name not in alternation_names(lab.record_url):
        records = search_records(lab.record_url, name)
        return records, method_results(records)
    rounds = recorded_rounds(lab, name)
    if not rounds:
        return [], []
    return search_records(lab.record_url, rounds[0].generation), round_results(lab, rounds)


def alternation_settings(lab: Lab, name: str) -> dict[str, Any]:
    """The settings of an alternation with the objective and the protocol of its first search."""
    first = search_records(lab.record_url, half_name(name, 1, "training"))[0].settings
    own = Record.open(lab.record_url, alternation_study(name)).settings
    return {**first, **own}


def round_results(lab: Lab, rounds: list[Round]) -> list[MethodResult]:
    """The results of an alternation: the state before it, called BEFORE, and each round's winner.

    Images and seconds of a round are those of both halves; the evaluations are of generation.

    Args:
        lab: the lab with the record.
        rounds: the finished rounds, at least one.
    """
    start = method_results(search_records(lab.record_url, rounds[0].training))
    results = [replace(next(r for r in start if r.method == START), method=BEFORE)]
    for number, round_ in enumerate(rounds, 1):
        trained, found = (
            next(r for r in method_results(search_records(lab.record_url, half)) if r.searched)
            for half in (round_.training, round_.generation)
        )
        results.append(
            replace(
                found,
                method=f"round {number}",
                images=trained.images + found.images,
                seconds=trained.seconds + found.seconds,
                training=round_.best.training,
                checkpoint=(round_.best.objective or {}).get("checkpoint"),
            )
        )
    return results


def best_round(rounds: list[Round]) -> Round:
    """The round with the lowest final test; of equal ones, the earliest."""
    return min(rounds, key=round_value)


def round_value(round_: Round) -> float:
    """The value of the final test of a round's winner; infinite where there is none."""
    return float("inf") if round_.best.test is None else round_.best.test.value
