"""The state of a search, for `autonat show NAME`: how far its studies are, and what failed."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from search.measurement import metric_label
from trials.cli.printing import out, print_json
from trials.lab import Lab
from trials.record.failures import reasons
from trials.record.kinds import TEST
from trials.record.record import Record
from trials.record.searches import alternation_names, halves_of, search_records


def show_search(lab: Lab, name: str, as_json_: bool) -> None:
    """Print the studies of a search or an alternation, and the reasons of their failures.

    Raises:
        ValueError: there is no such search; the known ones are listed.
    """
    records = _records(lab, name)
    states = [_state(record) for record in records]
    if as_json_:
        print_json({"name": name, "studies": states})
        return
    metric = metric_label(next((state["metric"] for state in states), "fid"))
    table = Table("study", "evaluations", "failed", "superseded", f"best {metric}")
    for state in states:
        fid = "" if state["best_fid"] is None else f"{state['best_fid']:.4g}"
        counts = [str(state[key]) for key in ("evaluations", "failed", "superseded")]
        table.add_row(escape(state["study"]), *counts, fid)
    out.print(table)
    for state in states:
        for reason in state["reasons"]:
            line = f"{state['study']}: {reason['count']} failed with: {reason['reason']}"
            out.print(line, markup=False)
    if any(state["failed"] for state in states):
        line = f"autonat search --resume {name} --retry-failed measures again what failed"
        out.print(line, markup=False)


def _records(lab: Lab, name: str) -> list[Record]:
    url = lab.record_url
    if name not in alternation_names(url):
        return search_records(url, name)
    return [record for half in halves_of(url, name) for record in search_records(url, half)]


def _state(record: Record) -> dict[str, Any]:
    done, best = record.evaluations, record.best()
    # A final test compares strategies, so none of its evaluations is the best.
    fid = None if best is None or record.settings["kind"] == TEST else best.value
    return {
        "study": record.name,
        "evaluations": len(done),
        "failed": sum(evaluation.measurement is None for evaluation in done),
        "superseded": len(record.superseded),
        "metric": record.metric,
        "best_fid": fid,
        "reasons": [{"reason": r.text, "count": r.count} for r in reasons(done)],
    }
