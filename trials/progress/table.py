"""A running search as a table for a terminal, and as lines for a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from search.controls import BASELINES
from search.measurement import metric_label
from search.number_text import span, with_error
from search.progress import MethodProgress, SearchProgress, Value

FINAL_TEST = "final test"
NARROW = 76
"""Terminals of fewer columns do without the speed and the workers."""


def table_of(search: SearchProgress, width: int, headed: bool = True) -> Table:
    """A row for each method and the final test, and below them what the methods have to beat.

    Args:
        search: how far it is.
        width: of the terminal, in columns.
        headed: whether its name and the time left stand above.
    """
    wide, failures = width >= NARROW, any(method.failed for method in search.methods)
    table = Table(
        title=Text(heading(search), style="bold") if headed else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("method", overflow="ellipsis")  # the only one that may be shortened
    shown = {
        "done": True,
        "failed": failures,
        _speed_label(search): wide and any(method.speed for method in search.methods),
        f"best {metric_label(search.methods[0].metric)}": True,
        "left": True,
        "workers": wide and any(method.in_flight is not None for method in search.methods),
    }
    for label, shows in shown.items():
        if shows:
            table.add_column(label, justify="right", no_wrap=True)
    for method in search.methods:
        failed = f"{method.failed:,}" if method.failed else ""
        busy = str(method.in_flight or "")
        best = _best(method)
        cells = (counted(method), failed, _speed(method), best, _left(method), busy)
        _add_row(table, method.method or FINAL_TEST, cells, [*shown.values()])
    if search.controls:
        table.add_section()
    for name, value in search.controls.items():
        cells = ("", "", "", _value(value), "", "")
        _add_row(table, name + _best_control(name), cells, [*shown.values()], "dim")
    return table


def _add_row(
    table: Table, name: str, cells: Sequence[str], shown: Sequence[bool], style: str = ""
) -> None:
    """Add a row whose texts are shown as they are, without what looks like markup in them."""
    kept = [Text(cell) for cell, shows in zip(cells, shown, strict=True) if shows]
    table.add_row(Text(name), *kept, style=style)


def heading(search: SearchProgress) -> str:
    """Where a whole search is: "first: 62 of 112 evaluations, about 3 min left"."""
    left = "" if search.left is None or search.left < 1 else f", about {span(search.left)} left"
    return f"{search.name}: {search.done:,} of {search.total:,} evaluations{left}"


def line_of(search: SearchProgress, study: str) -> str:
    """Where one study of a search is, for a log.

    Args:
        search: how far it is.
        study: the name of the study.
    """
    method = next(method for method in search.methods if method.study == study)
    parts = [f"{study}: {counted(method)}"]
    if method.failed:
        parts.append(f"{method.failed:,} failed")
    if method.speed:
        parts.append(f"{_speed(method)} {_speed_label(search)}")
    if method.best is not None:
        beside = ", ".join(f"{name} {_value(value)}" for name, value in search.controls.items())
        best = f"best {metric_label(method.metric)} {_best(method)}"
        parts.append(f"{best} ({beside})" if beside else best)
    if left := _left(method):
        parts.append(f"about {left} left" if method.left else left)
    return ", ".join(parts)


def counted(method: MethodProgress) -> str:
    """Its evaluations: "12/50"."""
    return f"{method.done:,}/{method.total:,}"


def _best(method: MethodProgress) -> str:
    return "" if method.best is None else _value(method.best)


def _value(value: Value) -> str:
    return with_error(*value)


def _left(method: MethodProgress) -> str:
    if method.finished:
        return "done"
    return "" if method.left is None or method.left < 1 else span(method.left)


def _speed(method: MethodProgress) -> str:
    if not method.speed:
        return ""
    return f"{method.speed:,.0f}" if method.speed >= 10 else f"{method.speed:.2g}"


def _speed_label(search: SearchProgress) -> str:
    return "images/s" if search.unit == "images" else "steps/s"


def _best_control(name: str) -> str:
    """Of the controls only the first and the best are told, so another than the first is the
    best."""
    return "" if name in BASELINES else " (best control)"
