"""The Optuna storage of all studies: SQLite in the lab, or a database server that all nodes see."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from trials.record_storage import RecordStorage

logger = logging.getLogger(__name__)

OUTAGE_SECONDS = 600.0
"""For how long a database server may be away."""
AGAIN_SECONDS = 1.0
MAKERS = 2
"""Other processes that are given the time to make a storage's tables."""
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)


def open_storage(url: str) -> RDBStorage:
    """A storage; a connection that a server dropped is made anew.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be opened; `readable` makes it one line.
    """
    for _ in range(MAKERS):
        # Of processes that make the tables at the same time, one succeeds.
        with contextlib.suppress(SQLAlchemyError):
            return RecordStorage(url, engine_kwargs={"pool_pre_ping": True})
        time.sleep(AGAIN_SECONDS / 2)
    return RecordStorage(url, engine_kwargs={"pool_pre_ping": True})


def without_password(url: str) -> str:
    """A URL to be shown."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return url


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Storage errors as one line.

    Raises:
        ValueError: the storage cannot be opened, read or written; or a newer Optuna made it.
    """
    try:
        yield
    except STORAGE_ERRORS as error:
        raise ValueError(f"record {without_password(what)}: {_reason(error)}") from None
    except (ImportError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"record {without_password(what)}: {line}") from None


def outlast(storage: RDBStorage, write: Callable[[], object], written: Callable[[], bool]) -> None:
    """Write; while the database server is away, wait for it and try again.

    Args:
        storage: that is written to. A file is never away: what fails there fails at once.
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
            lost = isinstance(_cause(error), (OperationalError, InterfaceError))
            if not (server and lost) or time.monotonic() > until:
                raise
            if not failed:
                logger.warning("the record's server is away (%s); waiting for it", _reason(error))
            failed = True
            time.sleep(AGAIN_SECONDS)


def _cause(error: Exception) -> BaseException:
    return error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    return str(getattr(cause, "orig", None) or cause).splitlines()[0]
