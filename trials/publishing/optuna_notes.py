"""Notes for the studies of a search in optuna-dashboard: what was found, and how to look at it."""

from __future__ import annotations

from dashboards.markdown import of_method, of_search
from search.controls import best_searched
from search.measurement import metric_label
from trials.lab import Lab
from trials.publishing.pictures import pictures_of
from trials.record.kinds import TEST
from trials.record.notes import write_note
from trials.record.record import Record
from trials.results.anchors import Anchor
from trials.results.results import MethodResult

OUTLIERS = 5.0
"""Times the lowest value, above which others flatten the history on a linear axis."""


def annotate(
    lab: Lab,
    name: str,
    records: list[Record],
    results: list[MethodResult],
    anchors: list[Anchor],
) -> None:
    """Write the notes of a search's studies, with pictures.

    Args:
        lab: of the search.
        name: of the search.
        records: of its studies.
        results: of its methods and controls.
        anchors: the reference values beside them.

    Raises:
        ValueError: the record cannot be written.
        OSError: a picture cannot be copied.
    """
    by_method, best = {r.method: r for r in results}, best_searched(results)
    for record in records:
        result = by_method.get(record.settings.get("optimiser", ""))
        if record.settings["kind"] == TEST:
            text = f"{_test_words(name)}\n\n{of_search(results, anchors)}"
            pictures = [] if best is None else pictures_of(lab, name, best.method)
        elif result is not None:
            text = f"{of_method(result, results, anchors)}\n\n{_advice(record)}"
            pictures = pictures_of(lab, name, result.method)
        else:
            continue
        write_note(lab.record_url, record.name, text, pictures, lab.optuna_artifacts)


def _test_words(name: str) -> str:
    return (
        f"**This is the final test of {name}, not a search.** Its trials are the winners and the "
        "controls, on seeds that no search saw; the user attribute `role` of a trial says which."
    )


def _advice(record: Record) -> str:
    """How to look at the history."""
    values = [m.value for e in record.evaluations if (m := e.measurement) and m.finite]
    metric = metric_label(record.metric)
    lines = [f"The lowest {metric} is the best; trials are in the order in which they ended."]
    if values and 0 < OUTLIERS * min(values) < max(values):
        lines.append(
            f"The highest {metric} is {max(values) / min(values):.0f} times the lowest: tick "
            "*Log y scale* beside the history, or the poor strategies flatten it."
        )
    return " ".join(lines)
