"""Of a PostgreSQL server; SQLite's ways are in test_record.py."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages._rdb.storage import _create_scoped_session
from sqlalchemy.exc import OperationalError

from benchmarks.servers import PostgreSQL
from search.measurement import Failure
from search.optimiser import Probe
from search.strategy import GenerationStrategy
from trials.record import record_storage
from trials.record.databases import sqlite_url, tables, without_password
from trials.record.record import Record
from trials.record.storage import require_two_databases
from trials.record.studies import study_names

STRATEGY = GenerationStrategy.maskgit(2)


def probe(number: int) -> Probe:
    return Probe(number, STRATEGY, 100, 2**31 + number, number, "start")


@pytest.fixture(scope="module")
def url(database: PostgreSQL) -> str:
    database.execute("create database record", "create role reader login", "create database bare")
    return database.url("record")


def test_a_server_that_is_away_for_a_while_is_waited_for(
    database: PostgreSQL,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = Record.create(url, "study", {})
    record.add(probe(0), Failure("no"), None)
    database.stop()
    assert record.name == "study"  # whoever looks meanwhile sees it
    assert record.settings == {}
    starting = threading.Timer(1.5, database.start)
    starting.start()
    record.add(probe(1), Failure("no"), None)
    starting.join()
    assert "the record cannot be written now" in caplog.text
    again = Record.open(url, "study")
    assert [evaluation.probe.number for evaluation in again.evaluations] == [0, 1]


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.create(url, "answers", {})
    lost = [True]

    @contextlib.contextmanager
    def losing(session: Any) -> Iterator[Any]:
        with _create_scoped_session(session) as opened:
            yield opened
        if lost.pop() if lost else False:
            cause = OperationalError("commit", {}, Exception("server closed the connection"))
            raise StorageInternalError("commit") from cause

    monkeypatch.setattr(record_storage, "_create_scoped_session", losing)
    record.add(probe(0), Failure("no"), None)
    record.add(probe(1), Failure("no"), None)
    assert not lost
    again = Record.open(url, "answers")
    assert [evaluation.probe.number for evaluation in again.evaluations] == [0, 1]


def test_two_that_make_its_tables_at_the_same_time(database: PostgreSQL, tmp_path: Path) -> None:
    database.execute("create database fresh")
    code = (
        "import sys; from trials.record.studies import study_names; print(study_names(sys.argv[1]))"
    )
    words = [sys.executable, "-c", code, database.url("fresh")]
    pair = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in pair] == ["[]", "[]"]


@pytest.mark.parametrize(
    ("name", "user", "said"),
    [
        ("record", "reader", "permission denied for table"),
        ("bare", "reader", "permission denied for schema public"),
        ("record", "nobody", 'role "nobody" does not exist'),
        ("nowhere", "postgres", 'database "nowhere" does not exist'),
    ],
)
def test_a_database_without_rights_is_one_line(
    database: PostgreSQL, url: str, name: str, user: str, said: str
) -> None:
    study_names(url)  # has its tables
    with pytest.raises(ValueError, match=f"^record postgresql://{user}.*{said}") as caught:
        Record.create(database.url(name, user), "mine", {})
    assert "\n" not in str(caught.value)


def test_a_server_that_nobody_started_is_one_line_without_the_password() -> None:
    with pytest.raises(
        ValueError, match="^record postgresql://me:\\*\\*\\*@127.0.0.1:9/x: "
    ) as caught:
        study_names("postgresql://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_url_is_shown_as_it_is() -> None:
    assert without_password("nonsense") == "nonsense"
    assert without_password("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"
    assert "secret" not in without_password("postgresql://db/x?password=secret&user=me")
    assert without_password("http://me:secret@host:5000") == "http://me:***@host:5000"


def test_the_record_and_mlflow_do_not_share_a_database(
    tmp_path: Path, database: PostgreSQL
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    ours, link = sqlite_url(tmp_path / "x.db"), sqlite_url(tmp_path / "link" / "x.db")
    database.execute("create database shared", "create database apart")
    shared = database.url("shared")
    for record, tracking in (
        (ours, ours),
        (ours, link),
        (shared, shared),
        (shared, shared.replace("postgresql:", "postgresql+psycopg:")),
    ):
        with pytest.raises(ValueError, match="would hold both the record and MLflow") as caught:
            require_two_databases(record, tracking)
        assert "--tracking-uri" in str(caught.value)
    require_two_databases(shared, database.url("apart"))
    require_two_databases(ours, "http://127.0.0.1:9")
    require_two_databases(ours, "postgresql://me:secret@127.0.0.1:1/x")  # who does not answer


def test_mlflows_own_database_is_left_as_it_is(mlflow_schema: Path, tmp_path: Path) -> None:
    url = sqlite_url(mlflow_schema)
    before = tables(url)
    with pytest.raises(ValueError, match="would hold both"):
        require_two_databases(url, sqlite_url(tmp_path / "other.db"))
    assert tables(url) == before
