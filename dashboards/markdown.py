"""What a search found, in Markdown: the notes of its runs in MLflow and its studies in Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashboards.cautions import warnings
from dashboards.formatting import describe_tests, difference, with_error
from dashboards.input import Anchor, Result
from dashboards.standing import standing
from search.controls import RULE_OF_THUMB, best_control, or_last, ranked
from search.measurement import metric_label
from search.strategy import GenerationStrategy


def of_search(results: Sequence[Result], anchors: Sequence[Anchor]) -> str:
    """The answer of a whole search: who is best and by how much, and the table of its final test.

    Args:
        results: one a method and control, at least one.
        anchors: what stands beside them.
    """
    best, *_ = ranked(results)
    said = standing(results)
    lines = [
        f"## {_found(best)}",
        f"{said[0].upper()}{said[1:]}." if said else "",
        *warnings(results, anchors),
        table(results, anchors),
        _protocol(results),
    ]
    return "\n\n".join(line for line in lines if line)


def of_method(result: Result, results: Sequence[Result], anchors: Sequence[Anchor]) -> str:
    """The answer of one method of a search: its number, beside what it has to beat; what it cost;
    its schedules.

    Args:
        result: its own.
        results: of the search, with the controls.
        anchors: what stands beside them.
    """
    metric = metric_label(result.search_metric)
    rule, lowest = _named(results, RULE_OF_THUMB), best_control(results)
    controls = [c for c in (rule, None if lowest is rule else lowest) if c is not None]
    beside = [f"{c.method} {with_error(c.value, c.standard_error)}" for c in controls]
    best, *_ = ranked(results)
    place = difference(result, best)
    lines = [
        f"## {_found(result)}",
        f"Controls, which need no search: {'; '.join(beside)}." if beside else "",
        f"From the best of this search, {best.method}: {place}." if result is not best else "",
        *warnings([result], anchors),
        f"The search measured {len(result.evaluations):,} strategies with {result.images:,} images "
        f"in {result.seconds:,.0f} s; an image takes {result.forward_passes} forward passes.",
        f"It saw {metric} {with_error(result.search_value, None)}, which was chosen for being low, "
        "often at another n: the number to report is the final test's."
        if result.search_value is not None
        else "",
        schedules_table(result.strategy),
        _protocol([result]),
    ]
    return "\n\n".join(line for line in lines if line)


def of_alternation(results: Sequence[Result], anchors: Sequence[Anchor]) -> str:
    """The answer of an alternation: its best round beside the state before it, and all rounds.

    Args:
        results: the state before it, then each round's winner; at least one.
        anchors: what stands beside them.
    """
    best, *_ = ranked(results)
    before = results[0]
    trained = [f"{r.label}: trained with {r.training}." for r in results if r.training is not None]
    lines = [
        f"## {_found(best)}",
        f"From there to {before.label}, which the search started from: {difference(before, best)}."
        if before is not best
        else f"No round ends below {before.label}, which the search started from.",
        *warnings(results, anchors),
        table(results, anchors),
        "  \n".join(trained),
        schedules_table(best.strategy),
        _protocol(results),
    ]
    return "\n\n".join(line for line in lines if line)


def table(results: Sequence[Result], anchors: Sequence[Anchor]) -> str:
    """The final test as a table, the lowest value first."""
    metric = metric_label(results[0].metric)
    best, *_ = ranked(results)
    rows = [
        (
            r.value,
            r.label if r.searched else f"{r.label} (control)",
            with_error(r.value, r.standard_error),
            difference(r, best),
            f"{r.images:,}" if r.searched else "",
            str(r.forward_passes),
        )
        for r in ranked(results)
    ]
    rows += [(a.value, a.label, with_error(a.value, None), "", "", "") for a in anchors]
    ordered = sorted(rows, key=lambda row: or_last(row[0]))
    head = ("method", f"final test {metric}", "from the best", "images searched", "passes an image")
    return _lines(head, [row[1:] for row in ordered])


def schedules_table(strategy: GenerationStrategy) -> str:
    """The schedules as a table, rounded to be read; choices that are unusual beneath."""
    head = ("schedule", *(f"t = {t}" for t in range(strategy.steps)))
    rows = []
    for name, text in rounded_schedules(strategy).items():
        cells = text.split()
        rows.append((name.replace("_", " "), *cells, *[""] * (strategy.steps - len(cells))))
    choices = "; ".join(strategy.extras().values())
    return _lines(head, rows) + (f"\n\n{choices}" if choices else "")


def rounded_schedules(strategy: GenerationStrategy) -> dict[str, str]:
    """The schedules by name, rounded to be read: "0.92 0.71 0.38"."""
    return {
        name: " ".join(f"{value:.3g}" for value in strategy.schedule(name))
        for name in strategy.schedules()
    }


def _found(result: Result) -> str:
    metric = metric_label(result.metric)
    if not math.isfinite(result.value):
        return f"{result.label}: the final test gave no number"
    return f"{result.label}: {metric} {with_error(result.value, result.standard_error)}"


def _protocol(results: Sequence[Result]) -> str:
    return " ".join(
        f"Final test, on seeds that no search saw: {said}." for said in describe_tests(results)
    )


def _named(results: Sequence[Result], name: str) -> Result | None:
    return next((r for r in results if r.method == name and not r.searched), None)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(c) for c in row)} |" for row in cells)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
