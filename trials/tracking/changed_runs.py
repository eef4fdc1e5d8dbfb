"""Deletes and renames the runs of a search in MLflow, those of its evaluations included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search.progress import Report
from trials.lab import Lab
from trials.record.databases import sqlite_file

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


def delete_runs(lab: Lab, study_ids: Iterable[str], report: Report) -> int:
    """Move the runs of studies to MLflow's trash, from which `mlflow gc` removes them for good.

    Args:
        lab: of the project. Nothing is done where its store does not exist.
        study_ids: the ids of the studies (`Record.study_id`).
        report: called with how many are deleted, and how many there are.

    Returns:
        How many runs were deleted.

    Raises:
        ValueError: the store does not answer.
    """
    with _store(lab) as client:
        found = [] if client is None else list(_runs(client, study_ids))
        for done, run in enumerate(found, 1):
            client.delete_run(run.info.run_id)  # type: ignore[union-attr]
            report(done, len(found), "")
    return len(found)


def rename_runs(lab: Lab, studies: Mapping[str, tuple[str, str]], report: Report) -> int:
    """Give the runs of studies, and those of their evaluations, the names of today.

    Args:
        lab: of the project. Nothing is done where its store does not exist.
        studies: what each study is called now and the name of its search, by its id.
        report: called with how many are renamed, and how many there are.

    Returns:
        How many runs were renamed.

    Raises:
        ValueError: the store does not answer.
    """
    from trials.tracking.views import ALTERNATION_TAG, STUDY_TAG

    with _store(lab) as client:
        found = [] if client is None else list(_runs(client, studies))
        for done, run in enumerate(found, 1):
            tags = run.data.tags
            name, search = studies[tags.get(STUDY_TAG) or tags[ALTERNATION_TAG]]
            _rename(client, run, name, search)  # type: ignore[arg-type]
            report(done, len(found), "")
    return len(found)


def _rename(client: MlflowClient, run: Run, study: str, search: str) -> None:
    """Rename one run; the name of an evaluation's begins with that of its study."""
    from mlflow.entities import RunTag

    from trials.tracking.contents import PARENT, PROBE_TAG
    from trials.tracking.mirror import LONGEST_RUN_NAME
    from trials.tracking.views import ALTERNATION_TAG

    tags = run.data.tags
    if ALTERNATION_TAG in tags:
        name, changed = search, {"autonat.study": study}
    elif tags.get(PROBE_TAG) == PARENT:
        name, changed = study, {"autonat.study": study, "search": search}
    else:
        # A call that was cut off here left the new name and the old tag. No study's name has a
        # space, so a name that begins with the old one and a space is not renamed yet.
        name, former = run.info.run_name or "", tags.get("study", study)
        if name.startswith(f"{former} "):
            name = study + name[len(former) :]
        changed = {"study": study}
    client.update_run(run.info.run_id, name=name[:LONGEST_RUN_NAME])
    new = [RunTag(key, value) for key, value in changed.items() if key in tags]
    client.log_batch(run.info.run_id, tags=new)


def _runs(client: MlflowClient, study_ids: Iterable[str]) -> Iterator[Run]:
    """The runs of studies and of their evaluations, in autonat's experiments that exist."""
    from trials.tracking.client import EVALUATIONS, EXPERIMENT, all_runs
    from trials.tracking.views import ALTERNATION_TAG, STUDY_TAG

    named = (client.get_experiment_by_name(name) for name in (EXPERIMENT, EVALUATIONS))
    where = [found.experiment_id for found in named if found is not None]
    for study_id in study_ids if where else ():
        for tag in (ALTERNATION_TAG, STUDY_TAG):
            yield from all_runs(client, where, f"tags.`{tag}` = '{study_id}'")


@contextmanager
def _store(lab: Lab) -> Iterator[MlflowClient | None]:
    """A client of a lab's store, or None where the store does not exist; errors in one line."""
    file = sqlite_file(lab.tracking_uri)
    if file is not None and not file.exists():
        yield None
        return
    from trials.tracking.client import store_error, tracking_client

    try:
        yield tracking_client(lab.tracking_uri)
    except Exception as error:
        raise ValueError(f"tracking {store_error(lab.tracking_uri, error)}") from None
