"""The lab: one folder that holds a project's record, MLflow files, models and results."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from search.names import file_stem, require_existing_search_name

DEFAULT_LAB = Path("autonat-lab")
VARIABLES = {
    "lab": "AUTONAT_LAB",
    "record_url": "AUTONAT_RECORD_URL",
    "tracking_uri": "AUTONAT_TRACKING_URI",
}
"""Environment variables that say where a lab, its record and MLflow are."""


@dataclass(frozen=True)
class Lab:
    """Where everything of a project is stored. The folder can be moved and copied as a whole.

    Attributes:
        folder: an absolute path.
        record_url: the Optuna storage of all studies, as an SQLAlchemy URL.
        tracking_uri: the store of MLflow.
    """

    folder: Path
    record_url: str
    tracking_uri: str

    def existing(self) -> Lab:
        """This lab, after checking that its folder exists.

        Raises:
            ValueError: the folder does not exist.
        """
        if not self.folder.is_dir():
            raise ValueError(f"lab {self.folder}: no such folder; autonat search creates one")
        return self

    @classmethod
    def at(
        cls, folder: Path, record_url: str | None = None, tracking_uri: str | None = None
    ) -> Lab:
        """The lab in that folder, for reading: nothing is created.

        Args:
            folder: the folder of the lab.
            record_url: the storage of the record; by default an SQLite file in the folder.
            tracking_uri: the store of MLflow; by default an SQLite file in the folder.

        Raises:
            ValueError: a database is in memory, or the path is not UTF-8.
        """
        from trials.record.databases import checked_url, mlflow_url, sqlite_url

        folder = folder.expanduser().resolve()
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise ValueError(f"lab {str(folder)!r}: its path is not UTF-8") from None
        return cls(
            folder,
            checked_url("record", record_url or sqlite_url(folder / "record.db")),
            mlflow_url(checked_url("tracking", tracking_uri or sqlite_url(folder / "mlflow.db"))),
        )

    @classmethod
    def open(
        cls, folder: Path, record_url: str | None = None, tracking_uri: str | None = None
    ) -> Lab:
        """The lab in that folder, for writing: the folder is created if it is missing.

        The arguments are those of `at`.

        Raises:
            ValueError: the folder cannot be written; see also `at`.
        """
        lab = cls.at(folder, record_url, tracking_uri)
        try:
            lab.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ValueError(f"lab {lab.folder}: not a folder") from None
        except OSError as error:
            raise ValueError(f"lab {lab.folder}: {error.strerror}") from None
        if not os.access(lab.folder, os.W_OK | os.X_OK):
            raise ValueError(f"lab {lab.folder}: not writable")
        return lab

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts, where its store is a database rather than a server."""
        return self.folder / "artifacts"

    @property
    def optuna_artifacts(self) -> Path:
        """The pictures that optuna-dashboard shows."""
        return self.folder / "optuna-artifacts"

    @property
    def holds_tracking(self) -> bool:
        """Whether MLflow's store is a file in the lab, which moves when the lab is moved."""
        from trials.record.databases import sqlite_file

        file = sqlite_file(self.tracking_uri)
        return file is not None and file.resolve().is_relative_to(self.folder)

    def results(self, name: str) -> Path:
        """The folder of a search's strategy files and report, whether or not it exists.

        Raises:
            ValueError: no search can have that name.
        """
        return results_folder(self.folder, name)

    def make_results(self, name: str) -> Path:
        """The folder of a search's results, created if it is missing.

        Raises:
            ValueError: no search can have that name, or the folder cannot be written.
        """
        folder = self.results(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_writable(folder)
        except OSError as error:
            raise _not_writable(folder, error) from None
        return folder

    def require_results(self, name: str) -> None:
        """Check that `make_results` would succeed; nothing is created.

        Raises:
            ValueError: it would fail.
        """
        folder = self.results(name)
        try:
            _require_writable(_nearest_existing(folder))
        except OSError as error:
            raise _not_writable(folder, error) from None


def results_folder(lab: Path, name: str) -> Path:
    """The folder of a search's results below a lab's; see `Lab.results`."""
    require_existing_search_name(name)
    return lab.expanduser().resolve() / "results" / name


def _nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _nearest_existing(folder.parent)
    return folder


def _require_writable(folder: Path) -> None:
    """Write a temporary file into the folder, since permissions alone do not tell."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _not_writable(folder: Path, error: OSError) -> ValueError:
    return ValueError(f"results {folder}: cannot be written: {error.strerror}")


def strategy_path(results: Path, method: str) -> Path:
    """Where the strategy file of a method or a control is written.

    Args:
        results: the folder of its search's results.
        method: the name of the optimiser or of the control.
    """
    return results / f"{file_stem(method)}.json"


def require_different_files(methods: Iterable[str]) -> None:
    """Check that the methods and controls of a search have strategy files of their own.

    Args:
        methods: their names.

    Raises:
        ValueError: two would be written to one file, or one to that of the best strategy.
    """
    taken = {"best": "the best strategy"}
    for method in methods:
        stem = file_stem(method).casefold()  # some file systems take both cases for one
        if stem in taken:
            raise ValueError(
                f"optimisers: the strategy files of {method} and of {taken[stem]} would both be "
                f"called {stem}.json; give one of them another name"
            )
        taken[stem] = method


def former_strategy_path(results: Path, method: str) -> Path:
    """Where earlier versions wrote it, under a name that not every file system takes."""
    return results / f"{method.replace(' ', '-')}.json"


def find_strategy(results: Path, method: str) -> Path:
    """Where the strategy file lies: at its path or, in an old lab, at the former one.

    Neither need exist.
    """
    former = former_strategy_path(results, method)
    path = strategy_path(results, method)
    return former if former.is_file() and not path.is_file() else path
