"""Publishes the results of an alternation: its report, and its run in MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from dashboards.markdown import of_alternation
from search.controls import best_searched
from trials.lab import Lab
from trials.objectives.objective import Objective
from trials.publishing.attempts import Note, attempt
from trials.publishing.pictures import pictures_of, write_pictures
from trials.publishing.provenance import unfinished_alternation
from trials.publishing.publish import UNDRAWN, UNMADE, Published, Show, report_of
from trials.publishing.sampling import real_images, with_pictures
from trials.record.kinds import alternation_study
from trials.record.record import Record
from trials.record.searches import search_records
from trials.results.anchors import recorded_anchors
from trials.results.rounds import Round, round_results
from trials.searches.alternation import has_ended
from trials.tracking.mirror import Mirror


def publish_alternation(
    lab: Lab,
    name: str,
    rounds: list[Round],
    objective: Callable[[], Objective],
    mirror: Mirror,
    show: Show,
    note: Note,
) -> Published:
    """Show the results of an alternation, then write its report and complete its run in MLflow.

    Its best.json was written before.

    Args:
        lab: the lab to publish in.
        name: of the alternation.
        rounds: the finished rounds, at least one.
        objective: returns the objective whose models were trained.
        mirror: of the alternation, not in use by another thread.
        show: called first, with the results.
        note: called with a line for each optional result that could not be made.

    Returns:
        The results of the alternation: the state before it, and each round's winner. Evaluations
        of its searches that MLflow lacks are not counted.
    """
    trained = [search_records(lab.record_url, r.training) for r in rounds]
    results = round_results(lab, rounds)
    anchors = recorded_anchors(search_records(lab.record_url, rounds[0].generation))
    best = lab.results(name) / "best.json"
    published = Published(results, best, None, 0, anchors=anchors)
    show(published)
    made = attempt(UNMADE, objective, note)
    shown = with_pictures(results, made, lab, note)
    published = dataclasses.replace(published, results=shown, real=real_images(made, note))
    attempt(UNDRAWN, lambda: write_pictures(lab, name, shown, published.real), note)
    asked = Record.open(lab.record_url, alternation_study(name)).settings["search"]["rounds"]
    report = report_of(
        *(lab, name, published, dict(enumerate(trained, 1)), note),
        halves=[record for r in rounds for record in search_records(lab.record_url, r.generation)],
        lacking=None
        if has_ended(rounds, asked)
        else unfinished_alternation(name, len(rounds), asked),
    )
    with contextlib.suppress(ValueError):  # autonat sync completes it
        complete_alternation(lab, name, rounds, mirror)
    return dataclasses.replace(published, report=report)


def complete_alternation(lab: Lab, name: str, rounds: list[Round], mirror: Mirror) -> None:
    """Bring the run of an alternation in MLflow, above those of its searches, up to date and end
    it.

    Raises:
        ValueError: MLflow does not answer.
    """
    tests = {
        number: round_.best.test.value
        for number, round_ in enumerate(rounds, 1)
        if round_.best.test is not None
    }
    files = [lab.results(name) / file for file in ("best.json", "report.html")]
    results = round_results(lab, rounds)
    winner = best_searched(results)
    pictures = [] if winner is None else pictures_of(lab, name, winner.method)
    present = [*(file for file in files if file.exists()), *pictures]
    anchors = recorded_anchors(search_records(lab.record_url, rounds[0].generation))
    said = of_alternation(results, anchors)
    mirror.finish_alternation(name, present, f"test_{results[0].metric}", tests, said)
