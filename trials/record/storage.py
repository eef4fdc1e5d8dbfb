"""The Optuna storage of all studies: SQLite in the lab, or a database server that all nodes see."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from trials.record.databases import (
    MLFLOW_TABLES,
    OPTUNA_TABLES,
    cause,
    is_database,
    one_line,
    reason,
    tables,
    without_password,
)
from trials.record.record_storage import RecordStorage

# It tells of every study that is made, on stderr.
optuna.logging.set_verbosity(optuna.logging.WARNING)
logger = logging.getLogger(__name__)

OUTAGE_SECONDS = 600.0
"""For how long a database server may be away."""
AGAIN_SECONDS = 1.0
LOCKED = "database is locked"
CONNECT_SECONDS = 10
MAKERS = 2
"""Other processes that are given the time to make a storage's tables."""
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)


def open_storage(url: str) -> RDBStorage:
    """A storage; a connection that a server dropped is made anew.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be opened; `readable` makes it one line.
    """
    server = url.startswith("postgresql")
    # Of processes that make the tables at the same time, one succeeds.
    collided = (IntegrityError, ProgrammingError, *(() if server else (OperationalError,)))
    more = {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if server else {}
    for _ in range(MAKERS):
        with contextlib.suppress(*collided):
            return RecordStorage(url, engine_kwargs={"pool_pre_ping": True, **more})
        time.sleep(AGAIN_SECONDS / 2)
    return RecordStorage(url, engine_kwargs={"pool_pre_ping": True, **more})


def one_database(url: str) -> ValueError:
    """That the record and MLflow were given one database."""
    return ValueError(
        f"{without_password(url)} would hold both the record and MLflow, whose tables do not go "
        "into one database: name another one with --record-url or with --tracking-uri (on the same "
        "server, CREATE DATABASE makes one), or leave one of the two out"
    )


def require_two_databases(record_url: str, tracking_uri: str) -> None:
    """See that the record and MLflow do not share a database, however it is spelled: each would
    take the other's tables for an old version of its own. The record's tables are made.

    Raises:
        ValueError: they share one, or the record cannot be opened. An MLflow that does not answer
            is none of this.
    """
    with readable(record_url):
        if record_url == tracking_uri or tables(record_url) >= MLFLOW_TABLES:
            raise one_database(record_url)
        open_storage(record_url).remove_session()
    with contextlib.suppress(SQLAlchemyError, ImportError):
        if is_database(tracking_uri) and tables(tracking_uri) >= OPTUNA_TABLES:
            raise one_database(tracking_uri)


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Storage errors as one line.

    Raises:
        ValueError: the storage cannot be opened, read or written; or a newer Optuna made it.
    """
    with one_line("record", what, StorageInternalError):
        yield


def outlast(storage: RDBStorage, write: Callable[[], object], written: Callable[[], bool]) -> None:
    """Write; while the database server is away, wait for it and try again.

    Args:
        storage: that is written to. A file is never away, only locked for a while by another
            process: what else fails there fails at once.
        write: one transaction.
        written: whether it is there; asked when an attempt ended in an error.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError: another error, or
            the server was away for too long.
    """
    until = time.monotonic() + OUTAGE_SECONDS
    failed = False
    while True:
        try:
            if not (failed and written()):
                write()
            return
        except STORAGE_ERRORS as error:
            server = storage.engine.dialect.name != "sqlite"
            lost = isinstance(cause(error), (OperationalError, InterfaceError))
            if not ((server and lost) or LOCKED in reason(error)) or time.monotonic() > until:
                raise
            if not failed:
                logger.warning("the record cannot be written now (%s); waiting", reason(error))
            failed = True
            time.sleep(AGAIN_SECONDS)
