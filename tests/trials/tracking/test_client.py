from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service import utils

from benchmarks.servers import PostgreSQL
from trials.lab import Lab
from trials.record.record import Record
from trials.tracking.background_mirror import BackgroundMirror
from trials.tracking.client import anchor, connect, tracking_client
from trials.tracking.mirror import Mirror, Outcome

SETTINGS = {
    "kind": "search",
    "optimiser": "random",
    "objective": {"name": "simulated", "checkpoint": None},
    "search": {"steps": 2, "budget": 800, "images_per_evaluation": 100, "seed": 0},
}


def attached(lab: Lab, name: str) -> str:
    """A file of that name at the study's parent run; the run's id."""
    (lab.folder / name).write_text(name)
    record, mirror = Record.open(lab.record_url, "study"), Mirror(lab)
    mirror.finish(record, Outcome([lab.folder / name]))
    return str(mirror.parent(record))


def names(lab: Lab, run: str) -> set[str]:
    utils._artifact_repos_cache.clear()  # as in another process
    files = {file.path for file in MlflowClient(lab.tracking_uri).list_artifacts(run)}
    return files - {"settings.json"}


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_lab_can_be_moved_and_copied(
    with_mlflow: Lab, tmp_path: Path, move: Callable[[Path, Path], object]
) -> None:
    old = with_mlflow
    Record.create(old.record_url, "study", SETTINGS)
    run = attached(old, "before")
    move(old.folder, tmp_path / "lab%41")
    there = old.folder.exists()
    new = Lab.open(tmp_path / "lab%41")
    anchor(new)
    assert names(new, run) == {"before"}
    assert attached(new, "after") == run
    assert names(new, run) == {"before", "after"}
    assert len(list(new.artifacts.glob(f"{run}/artifacts/after"))) == 1
    assert old.folder.exists() == there  # nothing is made at the old place
    if there:
        assert names(old, run) == {"before"}
        attached(old, "apart")
        assert names(old, run) == {"before", "apart"}
        assert names(new, run) == {"before", "after"}


def test_a_moved_lab_that_may_only_be_read_costs_a_note(with_mlflow: Lab, tmp_path: Path) -> None:
    Record.create(with_mlflow.record_url, "study", SETTINGS)
    attached(with_mlflow, "before")
    shutil.move(with_mlflow.folder, tmp_path / "moved")
    uri = f"sqlite:///file:{tmp_path}/moved/mlflow.db?mode=ro&uri=true"
    said = anchor(Lab.at(tmp_path / "moved", tracking_uri=uri))
    assert said is not None
    assert f"looks for the files of its runs in {with_mlflow.artifacts.as_uri()}" in said


def test_a_dashboard_of_junk_is_one_line(autonat: Callable[..., Any], lab: Lab) -> None:
    (lab.folder / "mlflow.db").write_text("this is no database")
    code, out, err = autonat("dashboard", "--lab", lab.folder)
    assert (code, out) == (2, "")
    assert err == f"autonat: tracking {lab.tracking_uri}: file is not a database\n"


def test_artifacts_of_a_store_elsewhere_stay(lab: Lab, tmp_path: Path, mlflow_schema: Path) -> None:
    shutil.copyfile(mlflow_schema, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    locations = set()
    for folder in (lab.folder, tmp_path / "other"):
        client, experiments = connect(Lab.open(folder, tracking_uri=uri))
        locations |= {client.get_experiment(e).artifact_location for e in experiments}
    assert locations == {lab.artifacts.as_uri()}


@pytest.mark.parametrize("host", ["127.0.0.1:1", "10.255.255.1:5432"])
def test_a_database_that_does_not_answer_costs_seconds_and_a_line(
    tmp_path: Path, host: str
) -> None:
    lab = Lab.open(tmp_path / "lab", tracking_uri=f"postgresql://me:secret@{host}/x")
    record = Record.create(lab.record_url, "study", SETTINGS)
    said: list[str] = []
    began = time.monotonic()
    with BackgroundMirror(Mirror(lab), said.append, lambda: True) as following:
        following.changed(record)
        while not said:
            time.sleep(0.05)
    assert time.monotonic() - began < 20
    assert len(said) == 1
    assert said[0].startswith(f"tracking postgresql://me:***@{host}/x: ")
    assert "secret" not in said[0]
    assert "\n" not in said[0]


def test_a_database_that_holds_a_record_is_no_store(database: PostgreSQL) -> None:
    database.execute("create database held")
    Record.create(database.url("held"), "study", SETTINGS)
    with pytest.raises(ValueError, match="would hold both the record and MLflow"):
        tracking_client(database.url("held"))
