"""The Optuna storage of all studies: an SQLite file in the lab, or a database server."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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

# Optuna would report every new study on stderr.
optuna.logging.set_verbosity(optuna.logging.WARNING)
logger = logging.getLogger(__name__)

OUTAGE_SECONDS = 600.0
"""How long to wait for a database server that does not answer."""
AGAIN_SECONDS = 1.0
LOCKED = "database is locked"
CONNECT_SECONDS = 10
MAKERS = 2
"""How often to wait for another process that is creating the tables of a storage."""
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)


def open_storage(url: str) -> RDBStorage:
    """Open a storage, which reconnects when a server drops the connection.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be opened; `readable` makes one line of that.
    """
    server = url.startswith("postgresql")
    # Of several processes that create the tables at the same time, one succeeds.
    collided = (IntegrityError, ProgrammingError, *(() if server else (OperationalError,)))
    more = {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if server else {}
    # A search opens its storage often, and Optuna's comparison of versions would take longest.
    options = {
        "engine_kwargs": {"pool_pre_ping": True, **more},
        "skip_compatibility_check": url in _compatible,
    }
    for _ in range(MAKERS):
        with contextlib.suppress(*collided):
            return _opened(url, options)
        time.sleep(AGAIN_SECONDS / 2)
    return _opened(url, options)


_compatible: set[str] = set()
"""The storages that this process has opened, which this version of Optuna can therefore read."""


def _opened(url: str, options: Mapping[str, Any]) -> RDBStorage:
    storage = RecordStorage(url, **options)
    _compatible.add(url)
    return storage


def one_database(url: str) -> ValueError:
    """The error of a record and an MLflow store that were given the same database."""
    return ValueError(
        f"{without_password(url)} would hold both the record and MLflow, whose tables cannot share "
        "a database: name another database with --record-url or --tracking-uri (CREATE DATABASE "
        "makes one on the same server), or leave one of the two out"
    )


def require_two_databases(record_url: str, tracking_uri: str) -> None:
    """Check that the record and MLflow do not share a database, however its URLs are spelled.

    Each would take the other's tables for an old version of its own. The record's tables are
    created if they are missing.

    Raises:
        ValueError: they share a database, or the record cannot be opened. An MLflow store that does
            not answer is not an error here.
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
    """Turn errors of the record's storage into one line.

    Args:
        what: the URL of the storage, or the name of a study in it.

    Raises:
        ValueError: the storage cannot be opened, read or written, or a newer Optuna created it.
    """
    with one_line("record", what, StorageInternalError):
        yield


def outlast(storage: RDBStorage, write: Callable[[], object], written: Callable[[], bool]) -> None:
    """Write to a storage, waiting and retrying while its server does not answer.

    Args:
        storage: the storage. An SQLite file can only be locked for a while by another process; any
            other error there is raised at once.
        write: makes one transaction.
        written: whether the transaction is in the storage; called after a failed attempt, whose
            commit may have succeeded.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError: another error, or
            the server did not answer for OUTAGE_SECONDS.
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
