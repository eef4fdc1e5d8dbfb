"""Links from the live page to the other dashboards and to the files of a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from dashboards.live.input import Elsewhere, Method, Search

FILES = {"report": "report.html", "best.json": "best.json"}
"""The files of a search's results that the page serves, by what it calls them. No others are."""


class Link(NamedTuple):
    """A link of the page: its words and its address."""

    words: str
    address: str


def of_method(method: Method, elsewhere: Elsewhere, runs: Mapping[str, str]) -> list[Link]:
    """Return the links of one method: its run in MLflow, and its study in Optuna's dashboard."""
    found = [Link("MLflow", runs[method.study])] if method.study in runs else []
    return [*found, Link("Optuna", _study(method.study_number, elsewhere))]


def of_search(search: Search, elsewhere: Elsewhere, runs: Mapping[str, str]) -> list[Link]:
    """Return the links of a search: its final test in both dashboards, its report and best.json.

    A search without a final test has the link of its first method that has a run in MLflow.
    """
    studies = [f"{search.name}-{kind}" for kind in ("test", "alternation")]
    studies += [method.study for method in search.studies]
    run = next((runs[study] for study in studies if study in runs), None)
    found = [] if run is None else [Link("MLflow", run)]
    numbers = [search.test_study, *(method.study_number for method in search.studies)]
    number = next((n for n in numbers if n is not None), None)
    found += [] if number is None else [Link("Optuna", _study(number, elsewhere))]
    return found + [
        Link(words, f"/results/{quote(search.name)}/{name}")
        for words, name in FILES.items()
        if result_file(search.name, name, elsewhere) is not None
    ]


def result_file(search: str, name: str, elsewhere: Elsewhere) -> Path | None:
    """Return a file of a search's results; None if there is none that may be served.

    Args:
        search: the name of the search, as somebody asked for it.
        name: of the file; only FILES are served.
        elsewhere: knows the folder of the results.
    """
    if name not in FILES.values():
        return None
    try:
        folder = elsewhere.results(search)
        file = (folder / name).resolve(strict=True)
    except (OSError, ValueError):  # it is not there, or no search can have that name
        return None
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


def _study(number: int, elsewhere: Elsewhere) -> str:
    return f"{elsewhere.optuna.rstrip('/')}/studies/{number}"
