"""MLflow's tables, made once a session: every new SQLite database gets a copy of them.

MLflow makes them by all of its migrations, one after the other, which takes two seconds of CPU for
each of the hundreds of labs that tests make.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy


@contextlib.contextmanager
def copied_tables(template: Path) -> Iterator[None]:
    """Let MLflow copy its tables into empty SQLite databases while the block runs.

    Args:
        template: the file to copy from, which is made by MLflow when it is first needed.
    """
    from mlflow.store.db import utils

    made, lock = utils._initialize_tables, threading.Lock()

    def copied(engine: sqlalchemy.Engine) -> None:
        if engine.dialect.name != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
            made(engine)
            return
        with lock:
            if not template.exists():
                first = sqlalchemy.create_engine(f"sqlite:///{template}")
                made(first)
                first.dispose()
        with contextlib.closing(sqlite3.connect(template)) as source, engine.connect() as target:
            source.backup(target.connection.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copied)
        yield
