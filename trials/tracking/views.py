"""What MLflow shows of our experiments, and at which address.

By itself MLflow's list of runs has no column for any metric. Which it has is kept in a tag of the
experiment, as MLflow's own "Save as new view" does it; an address names the tag.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import sqlalchemy

from trials.lab import Lab
from trials.record.databases import impatient_url, is_database, reading_engine, sqlite_file

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VIEW = "searches"
STUDY_NAME_TAG = "autonat.study"
"""The tag of a study's run that holds the name of the study."""
STUDY_TAG, ALTERNATION_TAG = "autonat.study_id", "autonat.alternation"
"""The tags that hold the id of a run's study, which no other lab gives."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
COSTS = ("images", "forward_passes")
"""The last columns of numbers, which every search has."""
MADE = 1_790_000_000_000
"""When the view was made, which MLflow asks for, in milliseconds; it stays as it was."""
EXPERIMENTS = sqlalchemy.table(
    "experiments", sqlalchemy.column("experiment_id"), sqlalchemy.column("name")
)
RUNS = sqlalchemy.table(
    "runs", *map(sqlalchemy.column, ("run_uuid", "experiment_id", "lifecycle_stage", "start_time"))
)
RUN_TAGS = sqlalchemy.table("tags", *map(sqlalchemy.column, ("key", "value", "run_uuid")))
TAGS = sqlalchemy.table(
    "experiment_tags", sqlalchemy.column("experiment_id"), sqlalchemy.column("key")
)


def view_of(numbers: Sequence[str]) -> str:
    """The view of a list of searches: the lowest final test first.

    Args:
        numbers: the names of the columns of numbers, a final test first.
    """
    shown = [f"metrics.`{name}`" for name in (*numbers, *COSTS)]
    columns = [*shown, *(f"tags.`{name}`" for name in ("T", "method", "search", "dataset"))]
    state = {
        "orderByKey": shown[0],
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "runsHiddenMode": "SHOW_ALL",
    }
    view = {"name": "Searches", "createdAt": MADE, "state": json.dumps(state)}
    return json.dumps(view)


def show_numbers(client: MlflowClient, experiment: str, numbers: Sequence[str]) -> None:
    """See that the view of an experiment has the columns of these numbers, beside those that it
    has."""
    tag = client.get_experiment(experiment).tags.get(VIEW_TAG)
    columns = [] if tag is None else json.loads(json.loads(tag)["state"])["selectedColumns"]
    names = [c.removeprefix("metrics.").strip("`") for c in columns if c.startswith("metrics.")]
    shown = [name for name in names if name not in COSTS]
    missing = [name for name in numbers if name not in shown]
    if missing:
        client.set_experiment_tag(experiment, VIEW_TAG, view_of([*shown, *missing]))


def runs_view(experiment: str, search_filter: str = "", order_by: str = "") -> str:
    """The end of the address at which MLflow shows an experiment's runs.

    Args:
        experiment: its id.
        search_filter: shows only runs that match.
        order_by: a metric; the lowest first.
    """
    asked = {}
    if search_filter:
        asked["searchFilter"] = search_filter
    if order_by:
        asked |= {"orderByKey": f"metrics.`{order_by}`", "orderByAsc": "true"}
    return _address(experiment, asked)


def searches_view(lab: Lab, name: str) -> str:
    """The end of the address at which MLflow shows a lab's searches, the best first; nothing
    where its store has none yet, or is a server, whose ids are not looked up.

    Args:
        lab: of the project.
        name: of the experiment of searches.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store cannot be read.
    """
    file = sqlite_file(lab.tracking_uri)
    if not is_database(lab.tracking_uri) or (file is not None and not file.exists()):
        return ""
    engine = sqlalchemy.create_engine(impatient_url(lab.tracking_uri))
    try:
        if "experiment_tags" not in sqlalchemy.inspect(engine).get_table_names():
            return ""
        with engine.connect() as connection:
            found = connection.scalar(
                sqlalchemy.select(EXPERIMENTS.c.experiment_id).where(EXPERIMENTS.c.name == name)
            )
            of_view = sqlalchemy.and_(TAGS.c.experiment_id == found, TAGS.c.key == VIEW_TAG)
            viewed = connection.scalar(sqlalchemy.select(TAGS.c.key).where(of_view))
    finally:
        engine.dispose()
    if found is None:
        return ""
    return _address(found, {} if viewed is None else {"viewStateShareKey": VIEW})


def run_views(lab: Lab) -> dict[str, str]:
    """The ends of the addresses at which MLflow shows the runs of studies, by the study's id.

    Names would not tell two labs apart that share a store. There are none where the store is a
    server, whose ids are not looked up, or has none yet.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store cannot be read.
    """
    file = sqlite_file(lab.tracking_uri)
    if not is_database(lab.tracking_uri) or (file is not None and not file.exists()):
        return {}
    named = sqlalchemy.select(RUN_TAGS.c.run_uuid).where(RUN_TAGS.c.key == STUDY_NAME_TAG)
    asked = (
        sqlalchemy.select(RUN_TAGS.c.value, RUNS.c.experiment_id, RUNS.c.run_uuid)
        .select_from(RUN_TAGS.join(RUNS, RUNS.c.run_uuid == RUN_TAGS.c.run_uuid))
        .where(RUN_TAGS.c.key.in_((STUDY_TAG, ALTERNATION_TAG)), RUN_TAGS.c.run_uuid.in_(named))
        .where(RUNS.c.lifecycle_stage == "active")
    )
    engine = reading_engine(lab.tracking_uri)
    try:
        if not {"tags", "runs"} <= set(sqlalchemy.inspect(engine).get_table_names()):
            return {}
        with engine.connect() as connection:
            found = connection.execute(asked).all()
    finally:
        engine.dispose()
    return {study: f"#/experiments/{experiment}/runs/{run}" for study, experiment, run in found}


def _address(experiment: object, asked: dict[str, str]) -> str:
    """With the words without which MLflow shows its page for language models, which is empty."""
    words = {"workflowType": "machine_learning"} | asked
    return f"#/experiments/{experiment}/runs?{urlencode(words, quote_via=quote)}"
