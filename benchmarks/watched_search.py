"""Runs a search in a process that can be killed, and counts what happens to its evaluations."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from trials.cli import entry
from trials.record.record import Record
from trials.record.studies import study_names

NAME = "faults"
HERE = Path(__file__).parent / "faulty"
OPTIMISERS = ("cmaes", "coarse-to-fine")
IMAGES = 100
SECONDS = 300.0
"""How long to wait for anything."""

_forks = multiprocessing.get_context("forkserver")
# Modules that a driver imports when it needs them. Without preloading them, a driver starts to
# search after seven seconds instead of two, and one killed earlier measures nothing.
_forks.set_forkserver_preload(
    [
        "benchmarks.watched_search",
        "benchmarks.faulty.counted",
        "alembic.command",
        "alembic.migration",
        "cmaes",
        "dashboards.report",
        "mlflow.tracking",
        "optuna.samplers",
        "optuna.storages",
        "search.optimisers.coarse_to_fine",
        "sqlalchemy.dialects.sqlite",
        "trials.tracking.background_mirror",
        "trials.cli.main",
        "trials.runners.local_runner",
        "trials.runners.ray_runner",
        "trials.cli.search_command",
        "trials.objectives.training",
    ]
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fault.

    Attributes:
        fault: the fault, in words.
        tries: how often it was caused.
        evaluations: the number of evaluations in the record at the end.
        lost: the number of evaluations that were in the record and are missing at the end.
        twice: the number of duplicated evaluations in the record.
        again: how often evaluations were restarted.
        same: whether evaluations and winners are those of a search without faults.
        recovery: the seconds until the search continued, for each time that it was observed.
    """

    fault: str
    tries: int
    evaluations: int
    lost: int
    twice: int
    again: int
    same: bool
    recovery: tuple[float, ...]


@dataclass
class Search:
    """A search from the command line, in a folder of its own.

    Attributes:
        folder: the folder, which is made if it is missing.
        evaluations: the number of evaluations of each optimiser.
        latency: how many seconds each of them sleeps.
        runner: "ray", with two workers, or "local".
        record_url: the URL of a record other than the lab's own.
        more: additional words of the command line.
        settings: settings of the objective.
        seen: the values of evaluations that were last seen in the record.
        lost: how many evaluations have disappeared from the record.
    """

    folder: Path
    evaluations: int = 40
    latency: float = 0.2
    runner: str = "ray"
    record_url: str | None = None
    more: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seen: dict[tuple[str, int], float] = field(default_factory=dict)
    lost: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.marks.touch()

    @property
    def marks(self) -> Path:
        """The log of the objective."""
        return self.folder / "marks"

    @property
    def url(self) -> str:
        """The URL of the record."""
        return self.record_url or f"sqlite:///{self.folder / 'lab' / 'record.db'}"

    def start(
        self,
        *,
        resume: bool = False,
        most: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ForkServerProcess:
        """Start a driver; with `most`, one that cannot write larger files, in bytes."""
        words = ["search", "--lab", str(self.folder / "lab"), "--runner", self.runner, *self.more]
        if self.record_url is not None:
            words += ["--record-url", self.record_url]
        if self.runner == "ray":
            words += ["--workers", "2"]
        if resume:
            words += ["--resume", NAME]
        else:
            words += ["--name", NAME, "--steps", "2", "--objective", "counted:Counted"]
            given = {"marks": str(self.marks), "latency": self.latency, **self.settings}
            words += [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
            words += [word for name in OPTIMISERS for word in ("--optimisers", name)]
            words += ["--budget", str(self.evaluations * IMAGES)]
            words += ["--images-per-evaluation", str(IMAGES), "--test-images", str(IMAGES)]
            words += ["--controls", "rule of thumb"]
        more = (self.folder / "log", most, dict(environment or {}))
        process = _forks.Process(target=_drive, args=(words, *more))
        process.start()
        return process

    def look(self) -> dict[tuple[str, int], float]:
        """Return the FID of every evaluation in the record, and count those that disappeared."""
        rows = [
            ((name, evaluation.probe.number), evaluation.measurement.value)
            for name in study_names(self.url)
            for evaluation in Record.open(self.url, name).evaluations
            if evaluation.measurement
        ]
        now = dict(rows)
        self.lost += sum(now.get(key) != fid for key, fid in self.seen.items())
        self.seen = now
        return now

    def wait_for(self, evaluations: int) -> None:
        """Wait until the record holds so many evaluations."""
        until(lambda: self.begun() and len(self.look()) >= evaluations)

    def outcome(self, fault: str, tries: int, recovery: list[float]) -> Outcome:
        """Return the outcome of a fault, when the search is over."""
        found = self.look()
        recorded = [
            (name, evaluation.probe.number)
            for name in study_names(self.url)
            for evaluation in Record.open(self.url, name).evaluations
        ]
        begun = sum(kind == "begin" for _, kind, *_ in marks(self))
        asked = uninterrupted(self.evaluations)
        return Outcome(
            fault,
            tries,
            len(recorded),
            self.lost,
            len(recorded) - len(set(recorded)),
            begun - len(recorded),
            (found, self.winners()) == asked,
            tuple(recovery),
        )

    def winners(self) -> dict[str, str]:
        """Return the published strategies by method."""
        files = (self.folder / "lab" / "results" / NAME).glob("*.json")
        return {f.stem: json.dumps(json.loads(f.read_text())["generation"]) for f in files}

    def begun(self) -> bool:
        """Whether there is a search to resume."""
        if self.record_url is None and not (self.folder / "lab" / "record.db").exists():
            return False
        with contextlib.suppress(ValueError):  # the tables are just being made
            return any(name.startswith(NAME) for name in study_names(self.url))
        return False

    def begins_after(self, moment: float) -> list[float]:
        """Return the seconds from a moment to the starts of evaluations after it."""
        return [at - moment for at, kind, *_ in marks(self) if kind == "begin" and at > moment]


def marks(search: Search) -> list[tuple[float, str, str, str]]:
    """Return time, kind, evaluation and node of each entry in the log of the objective."""
    lines = [line.split() for line in search.marks.read_text().splitlines()]
    return [(float(at), kind, key, node) for at, kind, key, node in lines]


def _drive(words: list[str], log: Path, most: int | None, environment: dict[str, str]) -> None:
    """Run the command line in this process."""
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(HERE)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    sys.argv = ["autonat", *words]
    entry.main()


def finish(process: ForkServerProcess, code: int = 0) -> None:
    """Wait for the end of a driver, and check its exit code."""
    process.join(SECONDS)
    if process.exitcode != code:
        raise RuntimeError(f"expected the exit code {code} of the driver, got {process.exitcode}")


def until(there: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {SECONDS:.0f} s")
        time.sleep(0.1)


scratch = functools.partial(
    tempfile.TemporaryDirectory, prefix="autonat-faults-", ignore_cleanup_errors=True
)
"""Makes a temporary folder for one search."""
_whole: dict[int, tuple[dict[tuple[str, int], float], dict[str, str]]] = {}


def uninterrupted(evaluations: int) -> tuple[dict[tuple[str, int], float], dict[str, str]]:
    """Return the evaluations and winners of a search without faults."""
    if evaluations not in _whole:
        with scratch() as folder:
            search = Search(Path(folder), evaluations, 0.0, "local")
            finish(search.start())
            _whole[evaluations] = search.look(), search.winners()
    return _whole[evaluations]
