"""Access to the MLflow store: a client, autonat's two experiments, and the place of artifacts.

Searches and their evaluations are kept in two experiments. The list of MLflow shows a hundred runs
at a time, so hundreds of evaluations would hide the searches, and its charts draw every run of a
list. In an experiment of their own, the searches are the list, and no filter is needed.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from trials.lab import Lab
from trials.record.databases import (
    OPTUNA_TABLES,
    first_line,
    impatient_url,
    is_database,
    sqlite_file,
    tables,
    without_password,
)
from trials.record.storage import one_database

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT, EVALUATIONS = "autonat", "autonat evaluations"
"""One run a search, and one an evaluation. Earlier versions kept both in the first."""
ABOUT = {
    EXPERIMENT: "The searches of an autonat lab: a run for each method, and one for the final test "
    "of its search. `best_fid` over the images generated so far is the search; `test_fid`, on "
    "seeds that no search saw, is the result. A run's description says what was found. The "
    "evaluations are in the experiment *autonat evaluations*.",
    EVALUATIONS: "The evaluations of all searches of an autonat lab: a run for each strategy that "
    "was measured, with its schedules. What the searches found is in the experiment *autonat*.",
}
"""What the experiments say of themselves."""
NOTE_TAG = "mlflow.note.content"
PAGE = 1000
"""Runs that the store is asked for at once."""
MOST_SAID = 300
"""Characters of a store's error that are kept."""
EXPERIMENTS = sqlalchemy.table(
    "experiments",
    sqlalchemy.column("name"),
    sqlalchemy.column("artifact_location"),
)
RUNS = sqlalchemy.table("runs", sqlalchemy.column("artifact_uri"))


def all_runs(client: MlflowClient, experiments: list[str], query: str) -> list[Run]:
    """All runs of experiments for which a query holds.

    They are read to the end first: a run that is deleted meanwhile would move those of later pages.
    """
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(experiments, query, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def tracking_client(uri: str) -> MlflowClient:
    """A client with short time-outs, since callers retry, and without output on stdout.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: a database does not answer, for which MLflow itself would
            retry for minutes.
        ValueError: the database holds Optuna's tables.
    """
    from mlflow.tracking import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if is_database(uri) and tables(uri) >= OPTUNA_TABLES:
        raise one_database(uri)
    return MlflowClient(impatient_url(uri))


def store_error(uri: str, error: Exception) -> str:
    """What a store raised, in one line with its address: "sqlite:///mlflow.db: disk is full".

    The password in the address is left out. An error that MLflow does not raise by intention is
    named by its type as well.
    """
    from mlflow.exceptions import MlflowException

    shown = without_password(uri)
    said = first_line(error).replace(uri, shown)[:MOST_SAID]
    if not isinstance(error, (MlflowException, SQLAlchemyError, OSError, ValueError)):
        said = f"{type(error).__name__}: {said}"
    return f"{shown}: {said}"


class Experiments(NamedTuple):
    """The ids of autonat's experiments in a store."""

    searches: str
    evaluations: str


def connect(lab: Lab) -> tuple[MlflowClient, Experiments]:
    """A client of a lab's store, and the ids of autonat's experiments, created if missing.

    Raises:
        Exception: any error of a store that does not answer.
    """
    client = tracking_client(lab.tracking_uri)
    anchor(lab)
    return client, Experiments(_made(client, lab, EXPERIMENT), _made(client, lab, EVALUATIONS))


def _made(client: MlflowClient, lab: Lab, name: str) -> str:
    """The id of an experiment of that name."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = lab.artifacts.as_uri() if is_database(lab.tracking_uri) else None
        return str(client.create_experiment(name, location, {NOTE_TAG: ABOUT[name]}))
    if NOTE_TAG not in found.tags:  # made by an earlier version
        client.set_experiment_tag(found.experiment_id, NOTE_TAG, ABOUT[name])
    return str(found.experiment_id)


def anchor(lab: Lab) -> str | None:
    """Make MLflow find the artifacts of a lab that was moved or copied.

    MLflow stores absolute addresses, one for the experiment and one for each run, and would keep
    writing to the old place. Only a store in the lab itself is changed.

    Returns:
        None, or why MLflow cannot find the artifacts in a lab that cannot be written.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store cannot be read, or another error in writing it.
    """
    file = sqlite_file(lab.tracking_uri)
    if not lab.holds_tracking or file is None or not file.exists():
        return None
    here, ours = lab.artifacts.as_uri(), EXPERIMENTS.c.name.in_([EXPERIMENT, EVALUATIONS])
    engine = sqlalchemy.create_engine(lab.tracking_uri)
    try:
        if "experiments" not in sqlalchemy.inspect(engine).get_table_names():
            return None
        with engine.connect() as connection:
            there = connection.scalar(
                sqlalchemy.select(EXPERIMENTS.c.artifact_location).where(ours)
            )
        if there is None or there == here:
            return None
        uri = RUNS.c.artifact_uri
        below = uri.startswith(f"{there}/", autoescape=True)
        moved = sqlalchemy.literal(here) + sqlalchemy.func.substr(uri, len(there) + 1)
        with engine.begin() as connection:
            connection.execute(RUNS.update().where(below).values(artifact_uri=moved))
            connection.execute(EXPERIMENTS.update().where(ours).values(artifact_location=here))
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_READONLY:
            raise
        return (
            f"lab {lab.folder} was moved and cannot be written, so MLflow looks for the files of "
            f"its runs in {there}"
        )
    finally:
        engine.dispose()
    return None
