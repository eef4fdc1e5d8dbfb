"""MLflow's tables, made once a session: every new SQLite database gets a copy of them.

MLflow makes them by all of its migrations, one after the other, which takes two seconds of CPU for
each of the hundreds of labs that tests make.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy


def make_tables(file: Path) -> None:
    """Let MLflow make its tables in a new SQLite file."""
    from mlflow.store.db import utils

    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    utils._initialize_tables(engine)
    engine.dispose()


@contextlib.contextmanager
def copied_tables(template: Path) -> Iterator[None]:
    """Let MLflow copy its tables into empty SQLite databases while the block runs.

    Args:
        template: the file to copy from, of `make_tables`.
    """
    from mlflow.store.db import utils

    made = utils._initialize_tables

    def copied(engine: sqlalchemy.Engine) -> None:
        if engine.dialect.name != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
            made(engine)
            return
        with contextlib.closing(sqlite3.connect(template)) as source, engine.connect() as target:
            source.backup(target.connection.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copied)
        yield
