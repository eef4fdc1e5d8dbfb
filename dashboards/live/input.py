"""The input of the live page.

This is all that the page gets. trials.results.watch makes such a look from a record; any other
objects with these attributes will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from search.progress import Value


class Method(Protocol):
    """What one method of a search has done so far."""

    @property
    def method(self) -> str:
        """The name of its optimiser."""

    @property
    def study(self) -> str:
        """The name of its study."""

    @property
    def study_number(self) -> int:
        """The number of its study in Optuna's storage."""

    @property
    def evaluations(self) -> int:
        """Successful evaluations."""

    @property
    def failed(self) -> int:
        """Failed evaluations."""

    @property
    def budgeted(self) -> int:
        """Evaluations that its budget pays for."""

    @property
    def best(self) -> Value | None:
        """The lowest value that it saw; None before there is one."""

    @property
    def curve(self) -> Sequence[tuple[int, float]]:
        """The images generated and the best value so far: a point an improvement, and the last."""

    @property
    def test(self) -> Value | None:
        """Its final test; None before it is done."""


class Search(Protocol):
    """A search, or an alternation of searches."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def alternation(self) -> str | None:
        """The name of the alternation of which it is half a round, or None."""

    @property
    def objective(self) -> str:
        """The name of its objective."""

    @property
    def what(self) -> str:
        """What is searched: generation, training, joint or both."""

    @property
    def steps(self) -> int:
        """T."""

    @property
    def metric(self) -> str:
        """The name of the metric that it searches in."""

    @property
    def test_metric(self) -> str:
        """The name of the metric of its final test."""

    @property
    def state(self) -> str:
        """One of "running", "preparing", "interrupted", "done" and "failed"."""

    @property
    def evaluations(self) -> int:
        """Successful evaluations, without those of the final test."""

    @property
    def failed(self) -> int:
        """Failed evaluations, without those of the final test."""

    @property
    def budgeted(self) -> int:
        """Evaluations that its budget pays for."""

    @property
    def tested(self) -> int:
        """Evaluations of the final test that were made."""

    @property
    def to_test(self) -> int:
        """Evaluations of the final test in all."""

    @property
    def last(self) -> datetime | None:
        """When its last evaluation ended; None before there is one."""

    @property
    def studies(self) -> Sequence[Method]:
        """Its methods."""

    @property
    def test_study(self) -> int | None:
        """The number of the study of its final test in Optuna's storage."""

    @property
    def best(self) -> Value | None:
        """The lowest final test of its methods, once all are tested; until then the lowest value
        that it saw."""

    @property
    def final(self) -> bool:
        """Whether its best is of the final test."""

    @property
    def controls(self) -> Mapping[str, Value]:
        """The final tests of its controls, by name."""

    @property
    def seen_controls(self) -> Mapping[str, Value]:
        """The values of controls that the search itself measured, by name."""

    @property
    def reasons(self) -> Sequence[tuple[str, int]]:
        """Why evaluations failed, and how many for each reason."""

    @property
    def driver(self) -> str | None:
        """The process that runs or prepares it."""

    @property
    def images_per_second(self) -> float | None:
        """The present speed."""

    @property
    def busy_workers(self) -> float | None:
        """How many evaluations are made at the same time at present, on average."""

    @property
    def seconds_left(self) -> float | None:
        """How long it goes on at the present speed."""


class Look(Protocol):
    """What there is to see at one time."""

    @property
    def searches(self) -> Sequence[Search]:
        """All searches: those that are being prepared, then the one with the latest evaluation
        first."""

    @property
    def problems(self) -> Sequence[str]:
        """A line for each thing that could not be read."""

    @property
    def at(self) -> datetime | None:
        """When it was read; None before the first time."""


@dataclass(frozen=True)
class Elsewhere:
    """Where the other dashboards show what the page shows.

    Attributes:
        mlflow: the address at which MLflow shows all searches.
        optuna: the address of optuna-dashboard's list.
        runs: returns the addresses of MLflow's runs, by the name of the study.
        results: returns the folder of a search's report and strategy files, given its name.
    """

    mlflow: str
    optuna: str
    runs: Callable[[], Mapping[str, str]] = field(default=dict)
    results: Callable[[str], Path] = field(default=Path)
