"""Databases by their URLs: SQLite files, whether a server answers, whether two URLs name one.

A path is not a URL: what % and ? mean in one they do not mean in the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

CONNECT_SECONDS = 5
"""For how long a database server may keep a first connection waiting."""
SERVERS = ("postgresql", "mysql")
ENGINES = ("sqlite", *SERVERS, "mssql")
"""What MLflow can keep its store in."""
OPTUNA_TABLES = {"studies", "trials"}
MLFLOW_TABLES = {"experiments", "runs"}


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database there; else a server answers, or files lie there."""
    return uri.partition(":")[0].partition("+")[0] in ENGINES


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return _text(URL.create("sqlite", database=str(file)))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for another database, one in memory, or no URL at all."""
    with contextlib.suppress(SQLAlchemyError):
        parts = make_url(url)
        if parts.get_backend_name() == "sqlite" and not _in_memory(parts):
            return Path(str(parts.database).removeprefix("file:")).absolute()
    return None


def checked_url(what: str, url: str) -> str:
    """A URL that a person gave; the path of an SQLite file becomes absolute.

    Raises:
        ValueError: a database in memory, which ends with the command.
    """
    try:
        parts = make_url(url)
    except SQLAlchemyError:
        return url  # whoever opens it says why it cannot
    if parts.get_backend_name() != "sqlite":
        return url
    if _in_memory(parts):
        raise ValueError(
            f"{what} {url}: a database in memory ends with the command, and nothing in it could be "
            "resumed or looked at; name a file, as in sqlite:///record.db"
        )
    if str(parts.database).startswith("file:"):
        return url
    return _text(parts.set(database=str(Path(str(parts.database)).absolute())))


def mlflow_url(url: str) -> str:
    """The URL for MLflow, which takes what follows sqlite:/// for a path, and makes its folder:
    where the path is quoted, that is another folder."""
    if url.startswith("sqlite:///") and "%" in url:
        return url.replace("sqlite:", "sqlite+pysqlite:", 1)
    return url


def impatient_url(url: str) -> str:
    """The URL, whose server is given up soon."""
    with contextlib.suppress(SQLAlchemyError):
        parts = make_url(url)
        if parts.get_backend_name() in SERVERS and "connect_timeout" not in parts.query:
            return _text(parts.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)}))
    return url


def tables(url: str) -> set[str]:
    """The names of a database's tables; of an SQLite file that is not there, none.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer, or not for us.
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
    """A URL to be shown."""
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
    """Errors of a database as one line.

    Args:
        what: it holds.
        url: its address, or another name for it.
        more: errors of whoever stands between us and the database.

    Raises:
        ValueError: it cannot be opened, read or written, or its driver is missing.
    """
    caught: tuple[type[Exception], ...] = (SQLAlchemyError, ImportError, RuntimeError, *more)
    try:
        yield
    except caught as error:
        raise ValueError(f"{what} {without_password(url)}: {reason(error)}") from None


def cause(error: Exception) -> BaseException:
    """SQLAlchemy's own error, where another was made of it."""
    return error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error


def reason(error: Exception) -> str:
    """What the driver said, in one line."""
    found = cause(error)
    return first_line(getattr(found, "orig", None) or found)


def first_line(error: BaseException) -> str:
    """What an error says, or its name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _in_memory(parts: URL) -> bool:
    file = str(parts.database or ":memory:").removeprefix("file:")
    return file.startswith(":memory:") or parts.query.get("mode") == "memory"


def _text(parts: URL) -> str:
    return parts.render_as_string(hide_password=False)
