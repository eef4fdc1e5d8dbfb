"""The state of a search, for `autonat show NAME`: how far it is, what failed, and what to do."""

from __future__ import annotations

from typing import Any

from search.final_test import FinalTest
from search.measurement import metric_label
from search.number_text import span, with_error
from trials.cli.printing import lab_flags, out, print_json
from trials.lab import Lab
from trials.progress.table import table_of
from trials.record.kinds import TEST
from trials.record.record import Record
from trials.results.rounds import recorded_rounds
from trials.results.state import SearchState, state_of


def show_search(lab: Lab, name: str, as_json_: bool) -> None:
    """Print the state of a search or an alternation, and the commands that continue from there.

    Raises:
        ValueError: there is no such search; the known ones are listed.
    """
    state = state_of(lab, name)
    commands = next_commands(lab, state)
    if as_json_:
        told: dict[str, Any] = {
            "name": name,
            "state": state.listed.state,
            "best": _told(state.best),
        }
        told |= {"best_control": _told(state.best_control)}
        told |= {"studies": [_study(record, state) for record in state.records]}
        print_json(told | {"next": [{"command": c, "does": does} for c, does in commands]})
        return
    out.print(_headline(state))
    for progress in state.searches:
        out.print(table_of(progress, out.width, headed=len(state.searches) > 1))
    for line in (*_final_test(state), *_failures(state)):
        out.print(line)
    out.print("what to do next:")
    for command, does in commands:
        out.print(f"  {command}\n      {does}")


def next_commands(lab: Lab, state: SearchState) -> list[tuple[str, str]]:
    """The commands that make sense in this state of a search, each with what it does."""
    name, where, listed = state.listed.name, lab_flags(lab, "record_url"), state.listed
    resume = f"autonat search --resume {name}{where}"
    dashboards = (f"autonat dashboard{where}", "opens its evaluations in MLflow and Optuna")
    if listed.state == "preparing":
        return [(f"autonat show {name}{where}", "says again how far it is")]
    if listed.state == "running":
        return [(f"autonat show {name}{where}", "says again how far it is"), dashboards]
    if state.renaming is not None:
        command = f"autonat rename {state.renaming.old} {state.renaming.new}{where}"
        does = "finishes its renaming, which was cut off; give it the same --tracking-uri, if any"
        return [(command, does)]
    found: list[tuple[str, str]] = []
    if listed.state not in ("done", "failed"):
        found.append((resume, "resumes it"))
    elif listed.state == "done" and not state.published:
        found.append((resume, "writes its strategy files and its report, which are missing"))
    if listed.failed:
        found.append((f"{resume} --retry-failed", "measures again what failed"))
    reportable = recorded_rounds(lab, name) if listed.what == "both" else listed.evaluations
    if reportable and not (state.reported and listed.state == "done"):
        found.append((f"autonat report {name}{where}", "writes a report of what there is"))
    if state.published:
        lab_only = lab_flags(lab)
        found.append((f"autonat export {name} best.json{lab_only}", "copies its best strategy"))
    if listed.evaluations or listed.failed:
        found.append(dashboards)
    return found


def _headline(state: SearchState) -> str:
    """Name, state and count: "first: interrupted after 62 of 100 evaluations, ..."."""
    listed, driver = state.listed, state.driver
    count = f"{listed.evaluations + listed.failed:,} of {listed.budgeted:,} evaluations"
    last = "" if listed.last is None else f", the last at {listed.last:%Y-%m-%d %H:%M}"
    if driver is not None:
        lefts = [progress.left for progress in state.searches if progress.left]
        left = f", about {span(lefts[-1])} left" if lefts and len(state.searches) == 1 else ""
        where = f"by process {driver.pid} on {driver.host} since {driver.since}"
        does = "being prepared" if listed.state == "preparing" else "running"
        return f"{listed.name}: {does} {where}, {count}{left}"
    return f"{listed.name}: {listed.state} after {count}{last}"


def _final_test(state: SearchState) -> list[str]:
    """The best method and the best control in the final test, if it has their numbers."""
    lines = []
    for label, tested in (("best", state.best), ("best control", state.best_control)):
        if tested is not None:
            method, test = tested
            value = f"{metric_label(test.metric)} {with_error(test.value, test.standard_error)}"
            lines.append(f"{label} in the final test: {method}, {value}")
    return lines


def _failures(state: SearchState) -> list[str]:
    lines = [
        f"{study}: {reason.count} failed with: {reason.text}"
        for study, found in state.reasons.items()
        for reason in found
    ]
    return lines + [
        f"{record.name}: {len(record.superseded)} evaluations no longer count, because failures "
        "were measured again"
        for record in state.records
        if record.superseded
    ]


def _study(record: Record, state: SearchState) -> dict[str, Any]:
    best = record.best()
    # A final test compares strategies, so none of its evaluations is the best.
    fid = None if best is None or record.settings["kind"] == TEST else best.value
    return {
        "study": record.name,
        "evaluations": len(record.evaluations),
        "failed": len(record.failed),
        "superseded": len(record.superseded),
        "metric": record.metric,
        "best_fid": fid,
        "reasons": [{"reason": r.text, "count": r.count} for r in state.reasons[record.name]],
    }


def _told(tested: tuple[str, FinalTest] | None) -> dict[str, Any] | None:
    return None if tested is None else {"method": tested[0], **tested[1].printed()}
