"""The lab: one folder that holds a project's record, MLflow files, models and results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lab:
    """Where things lie below the lab's folder.

    Attributes:
        folder: absolute.
        record_url: the Optuna storage of all studies, as an SQLAlchemy URL.
        tracking_uri: MLflow's.
    """

    folder: Path
    record_url: str
    tracking_uri: str

    @classmethod
    def open(
        cls, folder: Path, record_url: str | None = None, tracking_uri: str | None = None
    ) -> Lab:
        """Make the folder if it is missing; SQLite files in it stand in for what is not given.

        Raises:
            ValueError: the folder cannot be written.
        """
        folder = folder.expanduser().resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ValueError(f"lab {folder}: not a folder") from None
        except OSError as error:
            raise ValueError(f"lab {folder}: {error.strerror}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"lab {folder}: not writable")
        return cls(
            folder,
            record_url or f"sqlite:///{folder / 'record.db'}",
            tracking_uri or f"sqlite:///{folder / 'mlflow.db'}",
        )

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts, where its store is the lab's own SQLite file."""
        return self.folder / "artifacts"

    def results(self, name: str) -> Path:
        """The folder of a search's results: strategy files and the report."""
        folder = self.folder / "results" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def file_name(method: str) -> str:
    """Of the strategy file of a method or a control, in the folder of its search's results."""
    return f"{method.replace(' ', '-')}.json"
