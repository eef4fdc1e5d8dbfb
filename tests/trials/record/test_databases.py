from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy
from mlflow.tracking import MlflowClient

from trials.lab import Lab
from trials.record.databases import (
    checked_url,
    impatient_url,
    mlflow_url,
    sqlite_file,
    sqlite_url,
    tables,
)
from trials.record.record import Record
from trials.record.studies import study_names

NAMES = ["lab", "lab%41", "lab?x", "lab%20y", "a b#c;d@e:f", "größe"]


@pytest.mark.parametrize("name", NAMES)
def test_the_record_lands_in_exactly_that_folder(tmp_path: Path, name: str) -> None:
    lab = Lab.open(tmp_path / "labs" / name)
    Record.create(lab.record_url, "study", {})
    assert [file.name for file in (tmp_path / "labs").iterdir()] == [name]
    assert (tmp_path / "labs" / name / "record.db").exists()
    assert study_names(lab.record_url) == ["study"]
    assert sqlite_file(lab.record_url) == lab.folder / "record.db"


@pytest.mark.parametrize("name", ["lab%41", "größe?x"])
def test_mlflow_too_and_makes_no_folder_beside_it(
    tmp_path: Path, name: str, mlflow_schema: Path
) -> None:
    lab = Lab.open(tmp_path / name)
    (lab.folder / "mlflow.db").write_bytes(mlflow_schema.read_bytes())
    client = MlflowClient(lab.tracking_uri)
    run = client.create_run(client.create_experiment("e", lab.artifacts.as_uri())).info.run_id
    client.log_text(run, "x", "x.txt")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert len(list(lab.artifacts.glob("*/artifacts/x.txt"))) == 1


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite+pysqlite://"],
)
def test_a_database_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(
        ValueError, match="^record .*: a database in memory is lost when the command ends"
    ):
        Lab.at(tmp_path, record_url=url)
    with pytest.raises(ValueError, match="^tracking "):
        Lab.at(tmp_path, tracking_uri=url)


def test_a_relative_file_is_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked_url("record", "sqlite:///r.db") == sqlite_url(tmp_path / "r.db")
    server = "postgresql://me:secret@host/db"
    assert checked_url("record", server) == server
    assert checked_url("record", "no url") == "no url"


def test_what_mlflow_is_given() -> None:
    assert mlflow_url("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert mlflow_url("sqlite:////a%25/b.db") == "sqlite+pysqlite:////a%25/b.db"
    assert impatient_url("postgresql://a:b@h/d") == "postgresql://a:b@h/d?connect_timeout=5"
    assert impatient_url("postgresql://h/d?connect_timeout=9").endswith("=9")
    assert impatient_url("http://h") == "http://h"


def test_tables_of_a_file_and_of_none(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "a.db")
    assert tables(url) == set()
    assert list(tmp_path.iterdir()) == []
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (x int)"))
    assert tables(url) == {"t"}
