"""Runs a series of searches for the command line, and shows what was found at each T.

Like `search_command`, it is imported only when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from dashboards.formatting import with_error
from search.controls import RULE_OF_THUMB, best_control, best_searched
from search.measurement import metric_label
from trials.cli.finished import finished
from trials.cli.printing import DATABASES, exit_when_interrupted, lab_flags, out, print_json
from trials.cli.search_command import searched
from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.progress import say
from trials.publishing.comparing import write_comparison
from trials.record.searches import has_begun, search_records
from trials.results.comparison import compared
from trials.results.results import as_json
from trials.searches.launch import check
from trials.searches.series import member_name

if TYPE_CHECKING:
    from trials.results.results import MethodResult
    from trials.searches.setting_groups import SeriesOf
    from trials.searches.settings import SearchSettings


def run_series(searches: Sequence[SearchSettings], series: SeriesOf, *, as_json_: bool) -> None:
    """Run the searches of a series that are not finished, publish them, and compare all.

    Args:
        searches: the settings of each, the smallest T first.
        series: the series.
        as_json_: print one JSON object in place of tables.

    Raises:
        typer.Exit: a search was interrupted.
        ValueError: a setting is not valid, or a search failed.
    """
    lab = searches[0].open_lab()
    names = [settings.full_name() for settings in searches]
    begun = {name: has_begun(lab.record_url, name) for name in names}
    left = []
    for settings in searches:
        name = settings.full_name()
        if begun[name] and finished(settings, search_records(lab.record_url, name)) is not None:
            say(f"{name}: finished; nothing is left to do")
        else:
            left.append(settings)
    if left:
        _check_all(left, series.name, lab)
    for settings in left:
        resume = begun[settings.full_name()]
        searched(settings, resume=resume, resumed_by=series.name, show=not as_json_)
    say(f"{series.name}: writing one report of all {len(names)} searches …")
    with exit_when_interrupted(
        f"interrupted; all is measured, and autonat search --resume {series.name} writes the report"
    ):
        report = write_comparison(lab, names)
    found = compared(lab, names).results
    by_steps = {
        settings.steps: [r for r in found if r.strategy.steps == settings.steps]
        for settings in searches
    }
    if as_json_:
        print_json(_told(series, lab, by_steps, report))
        return
    out.print(_table(by_steps))
    for line in _notes(by_steps):
        out.print(line)
    strategies = lab.results(names[0]).parent / f"{series.name}-T*" / "best.json"
    out.print(f"strategies     {strategies}")
    out.print(f"report         {report}")
    out.print(f"dashboards     autonat dashboard{lab_flags(lab, *DATABASES)}")


def _check_all(searches: Sequence[SearchSettings], name: str, lab: Lab) -> None:
    """Check every search before the first one starts; what they learn from is still missing.

    Raises:
        ValueError: as in `launch.check`.
    """
    first = searches[0]
    say(f"{name}: checking {first.objective} and the settings of {len(searches)} searches …")
    objective = load_objective(first.objective, first.objective_settings)
    for settings in searches:
        check(settings.model_copy(update={"learn_from": []}), objective, lab)


def _told(
    series: SeriesOf, lab: Lab, by_steps: dict[int, list[MethodResult]], report: Path
) -> dict[str, Any]:
    searches = [
        {
            "steps": steps,
            "name": member_name(series, steps),
            "best": str(lab.results(member_name(series, steps)) / "best.json"),
            "on_front": steps in _front(by_steps),
            "results": as_json(results),
        }
        for steps, results in by_steps.items()
    ]
    return {"name": series.name, "report": str(report), "searches": searches}


def _table(by_steps: dict[int, list[MethodResult]]) -> Table:
    """One row for each T: what was found, and its controls."""
    metric = next(metric_label(r.metric) for results in by_steps.values() for r in results)
    front = _front(by_steps)
    table = Table("T", "passes", f"found: {metric}", "front", RULE_OF_THUMB, "best control")
    for steps, results in by_steps.items():
        best, control = best_searched(results), best_control(results)
        rule = next((r for r in results if r.method == RULE_OF_THUMB), None)
        table.add_row(
            str(steps),
            "" if best is None else str(best.forward_passes),
            _number(best),
            "yes" if steps in front else "no",
            _number(rule),
            "" if control is None or control is rule else f"{_number(control)} {control.method}",
        )
    return table


def _number(result: MethodResult | None) -> str:
    return "" if result is None else with_error(result.value, result.standard_error)


def _notes(by_steps: dict[int, list[MethodResult]]) -> list[str]:
    beaten = [str(steps) for steps in by_steps if steps not in _front(by_steps)]
    lines = [
        "final tests on seeds that no search saw; passes: forward passes for each image; front: "
        "whether no other T has a lower value with as few passes"
    ]
    if beaten:
        lines.append(
            f"T = {', '.join(beaten)}: another T has something better for the same cost, so these "
            "searches had too few images, or more steps do not help"
        )
    return lines


def _front(by_steps: dict[int, list[MethodResult]]) -> set[int]:
    """Those T whose best strategy no other T beats in both the metric and the passes."""
    best = {steps: best_searched(results) for steps, results in by_steps.items()}
    known = {steps: r for steps, r in best.items() if r is not None}
    return {
        steps
        for steps, r in known.items()
        if not any(
            other.value < r.value and other.forward_passes <= r.forward_passes
            for other in known.values()
        )
    }
