"""Databases by their URLs: SQLite files, tables, errors in one line.

A path is not a URL: % and ? have a meaning in a URL that they do not have in a path.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

CONNECT_SECONDS = 5
"""Seconds that a database server may take to answer a first connection."""
LOCK_SECONDS = 1.0
"""Seconds for which a reader waits while another process writes an SQLite file."""
SERVERS = ("postgresql", "mysql")
ENGINES = ("sqlite", *SERVERS, "mssql")
"""Databases in which MLflow can keep its store."""
OPTUNA_TABLES = {"studies", "trials"}
MLFLOW_TABLES = {"experiments", "runs"}


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database at this address, rather than asking a server or reading
    files."""
    return uri.partition(":")[0].partition("+")[0] in ENGINES


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return _text(URL.create("sqlite", database=str(file)))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, or None for another database, one in memory, or an invalid URL."""
    with contextlib.suppress(SQLAlchemyError):
        parts = make_url(url)
        if parts.get_backend_name() == "sqlite" and not _in_memory(parts):
            return Path(str(parts.database).removeprefix("file:")).absolute()
    return None


def checked_url(what: str, url: str) -> str:
    """Check a URL that a person gave, and make the path of an SQLite file absolute.

    Args:
        what: the use of the database, for error lines.
        url: as given.

    Raises:
        ValueError: the database is in memory, and would be lost when the command ends.
    """
    try:
        parts = make_url(url)
    except SQLAlchemyError:
        return url  # opening it will say what is wrong
    if parts.get_backend_name() != "sqlite":
        return url
    if _in_memory(parts):
        raise ValueError(
            f"{what} {url}: a database in memory is lost when the command ends, so nothing in it "
            "could be resumed or inspected; name a file, such as sqlite:///record.db"
        )
    if str(parts.database).startswith("file:"):
        return url
    return _text(parts.set(database=str(Path(str(parts.database)).absolute())))


def mlflow_url(url: str) -> str:
    """The URL in a form that MLflow understands.

    MLflow takes the text after sqlite:/// for a path and makes its folder, which is the wrong
    folder where the path is quoted with %; it leaves sqlite+pysqlite:/// alone.
    """
    if url.startswith("sqlite:///") and "%" in url:
        return url.replace("sqlite:", "sqlite+pysqlite:", 1)
    return url


def impatient_url(url: str) -> str:
    """The URL with a short time-out for the connection to a server."""
    with contextlib.suppress(SQLAlchemyError):
        parts = make_url(url)
        if parts.get_backend_name() in SERVERS and "connect_timeout" not in parts.query:
            return _text(parts.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)}))
    return url


def reading_engine(url: str) -> Engine:
    """An engine that only reads: it cannot write or create an SQLite file, and waits neither long
    for its writers nor for a server."""
    file = sqlite_file(url)
    if file is None:
        return sqlalchemy.create_engine(impatient_url(url), pool_pre_ping=True)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)

    # Without a pool, a file that was replaced is opened anew.
    return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.NullPool)


def tables(url: str) -> set[str]:
    """The names of a database's tables; an SQLite file that does not exist has none.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer, or refuses the user.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return set()
    engine = sqlalchemy.create_engine(impatient_url(url))
    try:
        return set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def without_password(url: str) -> str:
    """The URL as it may be shown, with its password hidden."""
    try:
        parts = make_url(url)
    except SQLAlchemyError:
        return url
    if not (parts.password or "password" in parts.query):
        return url
    if "password" in parts.query:
        parts = parts.update_query_dict({"password": "-"})
    return parts.render_as_string(hide_password=True)


@contextlib.contextmanager
def one_line(what: str, url: str, *more: type[Exception]) -> Iterator[None]:
    """Turn errors of a database into one line.

    Args:
        what: the database is used for: "record" or "tracking".
        url: the address of the database, or another name for it.
        more: errors of libraries between us and the database, to be treated alike.

    Raises:
        ValueError: the database cannot be opened, read or written, or its driver is missing.
    """
    caught: tuple[type[Exception], ...] = (SQLAlchemyError, ImportError, RuntimeError, *more)
    try:
        yield
    except caught as error:
        raise ValueError(f"{what} {without_password(url)}: {reason(error)}") from None


def cause(error: Exception) -> BaseException:
    """The error of SQLAlchemy that this one was raised from, or else the error itself."""
    return error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error


def reason(error: Exception) -> str:
    """The message of the database driver, in one line."""
    found = cause(error)
    return first_line(getattr(found, "orig", None) or found)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type where it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _in_memory(parts: URL) -> bool:
    file = str(parts.database or ":memory:").removeprefix("file:")
    return file.startswith(":memory:") or parts.query.get("mode") == "memory"


def _text(parts: URL) -> str:
    return parts.render_as_string(hide_password=False)
