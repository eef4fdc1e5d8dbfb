"""The mirror of the record in MLflow: a parent run a study, a child run an evaluation.

What is missing there is found by comparing with the record, so the same code mirrors a running
search, one that is resumed, and, with `autonat sync`, one whose server was away. It never stops a
search: errors are kept, and tried again.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from search.measurement import Measurement
from search.strategy_file import image_flops
from trials.evaluation import Evaluation
from trials.lab import Lab
from trials.record import ALTERNATION, Record
from trials.storage import first_line, without_password

EXPERIMENT = "autonat"
STUDY_TAG, PROBE_TAG = "autonat.study_id", "autonat.probe"
TRIAL_TAG = "autonat.trial"
"""The evaluation's number: a probe that failed and was tried again has two."""
ALTERNATION_TAG = "autonat.alternation"
RETRY_SECONDS = 5.0
FAR_BEHIND, PAUSE = 100, 0.02
"""A search that is so many evaluations ahead of a store that answers pauses so many seconds after
each: only where evaluations take less time than MLflow takes to write them."""
PAGE = 1000


def tracking_client(uri: str) -> MlflowClient:
    """A client that gives up soon, for we retry ourselves, and does not write to stdout."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    return MlflowClient(uri)


class Mirror:
    """Writes records to one MLflow store. Used from one thread at a time.

    Args:
        lab: names the store; where that is the lab's own SQLite file, artifacts lie in the lab.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._parents: dict[str, str] = {}
        self._mirrored: dict[str, dict[int, str]] = {}

    def sync(self, record: Record, stopped: Callable[[], bool] = lambda: False) -> int:
        """Bring MLflow up to the record.

        Args:
            record: of a study.
            stopped: asked before every evaluation whether to leave the others for later.

        Returns:
            How many evaluations were added.

        Raises:
            ValueError: the store does not answer.
        """
        try:
            return self._sync(record, stopped)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._away(error) from None

    def finish(self, record: Record, files: Iterable[Path], metrics: dict[str, float]) -> None:
        """Attach files to a study's parent run, log its final metrics, and end it.

        Raises:
            ValueError: the store does not answer.
        """
        self.sync(record)
        try:
            client, parent = self._connected(), self._parents[record.study_id]
            for file in files:
                client.log_artifact(parent, str(file))
            for key, value in metrics.items():
                client.log_metric(parent, key, value)
            client.set_terminated(parent)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._away(error) from None

    def finish_alternation(
        self, name: str, files: Iterable[Path], metrics: Mapping[str, Sequence[float]]
    ) -> None:
        """Attach files to the run above the searches of an alternation, log its metrics, one
        value a round, and end it.

        Raises:
            ValueError: the store does not answer.
        """
        try:
            client = self._connected()
            run = self._alternation(name)
            for file in files:
                client.log_artifact(run, str(file))
            for key, values in metrics.items():
                for round_, value in enumerate(values, 1):
                    client.log_metric(run, key, value, step=round_)
            client.set_terminated(run)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._away(error) from None

    def parent(self, record: Record) -> str | None:
        """The run id of a study's parent run, once it is known."""
        return self._parents.get(record.study_id)

    def behind(self, record: Record) -> int:
        """How many evaluations of a record are not known to be mirrored."""
        return len(record.evaluations) - len(self._mirrored.get(record.study_id, ()))

    def _away(self, error: Exception) -> ValueError:
        uri, shown = self._lab.tracking_uri, without_password(self._lab.tracking_uri)
        return ValueError(f"tracking {shown}: {first_line(error).replace(uri, shown)[:300]}")

    def _sync(self, record: Record, stopped: Callable[[], bool]) -> int:
        client = self._connected()
        if record.study_id not in self._parents:
            self._parents[record.study_id] = self._find_or_start_parent(record)
        parent = self._parents[record.study_id]
        if record.study_id not in self._mirrored:
            self._mirrored[record.study_id] = self._finished_children(record)
        mirrored = self._mirrored[record.study_id]
        for superseded in record.superseded:
            if superseded.number in mirrored:
                client.delete_run(mirrored.pop(superseded.number))
        added = 0
        for evaluation in record.evaluations:
            if evaluation.number not in mirrored and not stopped():
                run_id = self._add_child(client, parent, record, evaluation)
                mirrored[evaluation.number] = run_id
                added += 1
        return added

    def _connected(self) -> MlflowClient:
        if self._client is None:
            client = tracking_client(self._lab.tracking_uri)
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                own = self._lab.tracking_uri.startswith("sqlite:")
                location = self._lab.artifacts.as_uri() if own else None
                self._experiment = client.create_experiment(EXPERIMENT, location)
            else:
                self._experiment = found.experiment_id
            self._client = client
        return self._client

    def _find_or_start_parent(self, record: Record) -> str:
        client = self._connected()
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` = 'parent'"
        found = client.search_runs([self._experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        settings = record.settings
        search = settings["search"]
        tags = {STUDY_TAG: record.study_id, PROBE_TAG: "parent", "autonat.study": record.name}
        if search.get("alternation") is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._alternation(search["alternation"])
        run = client.create_run(self._experiment, run_name=record.name, tags=tags)
        parameters = {
            "kind": settings["kind"],
            "objective": settings["objective"]["name"],
            "checkpoint": settings["objective"]["checkpoint"],
            "optimiser": settings.get("optimiser"),
            "steps": search["steps"],
            "budget": search["budget"],
            "images_per_evaluation": search["images_per_evaluation"],
            "seed": search["seed"],
            "python": platform.python_version(),
        }
        own = [Param(key, str(value)) for key, value in parameters.items() if value is not None]
        client.log_batch(run.info.run_id, params=own)
        client.log_dict(run.info.run_id, settings, "settings.json")
        return str(run.info.run_id)

    def _alternation(self, name: str) -> str:
        """The run above the searches of an alternation."""
        client = self._connected()
        record = Record.open(self._lab.record_url, f"{name}-{ALTERNATION}")
        query = f"tags.`{ALTERNATION_TAG}` = '{record.study_id}'"
        found = client.search_runs([self._experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {ALTERNATION_TAG: record.study_id, "autonat.study": record.name}
        run = client.create_run(self._experiment, run_name=name, tags=tags)
        client.log_dict(run.info.run_id, record.settings, "settings.json")
        return str(run.info.run_id)

    def _finished_children(self, record: Record) -> dict[int, str]:
        """The finished child runs by their evaluations' numbers; one that was cut off is
        deleted."""
        client = self._connected()
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` != 'parent'"
        finished: dict[int, str] = {}
        # Of a probe with several evaluations, a run without the tag is that of the first.
        recorded = (*record.evaluations, *record.superseded)
        first = {e.probe.number: e.number for e in sorted(recorded, key=lambda e: -e.number)}
        token: str | None = None
        while True:
            page = client.search_runs([self._experiment], query, max_results=PAGE, page_token=token)
            for run in page:
                if run.info.status == "RUNNING":
                    client.delete_run(run.info.run_id)
                else:
                    tags = run.data.tags
                    number = tags.get(TRIAL_TAG) or first.get(int(tags[PROBE_TAG]), -1)
                    finished[int(number)] = run.info.run_id
            token = page.token
            if not token:
                return finished

    def _add_child(
        self, client: MlflowClient, parent: str, record: Record, evaluation: Evaluation
    ) -> str:
        probe, result = evaluation.probe, evaluation.result
        ended = int(evaluation.finished.timestamp() * 1000)
        seconds = result.seconds if isinstance(result, Measurement) else 0.0
        # All tags at once: each later call costs the store several transactions.
        tags = {
            STUDY_TAG: record.study_id,
            PROBE_TAG: str(probe.number),
            TRIAL_TAG: str(evaluation.number),
            MLFLOW_PARENT_RUN_ID: parent,
            "role": probe.role,
        }
        values: dict[str, float] = {"images": evaluation.images}
        if isinstance(result, Measurement):
            # FIDs compare at equal n only: one that was stopped early goes by another name.
            values |= {"fid_stopped" if evaluation.stopped else "fid": result.fid}
            values["seconds"] = seconds
            values["forward_passes"] = result.forward_passes
            flops = image_flops(record.settings["objective"], probe.strategy)
            if flops is not None:
                values["flops"] = flops
            for name in ("fid_se", "fid_infinite", "validation_loss"):
                if getattr(result, name) is not None:
                    values[name] = getattr(result, name)
        else:
            tags["reason"] = result.reason
        parameters: dict[str, Any] = {"seed": probe.seed, "step": probe.step, "n": probe.images}
        parameters |= probe.strategy.parameters()
        if probe.training is not None:
            parameters |= probe.training.strategy.parameters()
            values["training_steps"] = evaluation.training_steps
            tags["training"] = str(probe.training.strategy)
        run = client.create_run(
            self._experiment,
            start_time=ended - int(seconds * 1000),
            run_name=f"{record.name} {probe.number} {probe.role}",
            tags=tags,
        )
        run_id = run.info.run_id
        client.log_batch(
            run_id,
            [Metric(key, value, ended, 0) for key, value in values.items()],
            [Param(key, repr(value)) for key, value in parameters.items()],
        )
        client.log_text(run_id, json.dumps(probe.strategy.to_json(), indent=1), "strategy.json")
        status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[evaluation.state]
        client.set_terminated(run_id, status, ended)
        return str(run_id)


class BackgroundMirror:
    """A mirror with a thread of its own: it follows the records of a running search.

    Args:
        mirror: used by the thread alone until `close`.
        warn: told in one line when the store stops answering, and when it answers again.
    """

    def __init__(self, mirror: Mirror, warn: Callable[[str], None]) -> None:
        self._mirror, self._warn = mirror, warn
        self._records: dict[str, Record] = {}
        self._answers = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def changed(self, record: Record) -> None:
        """A record has something new. Far ahead of the store, this takes PAUSE seconds."""
        self._records[record.study_id] = record
        self._changed.set()
        if self._answers and self._mirror.behind(record) > FAR_BEHIND:
            time.sleep(PAUSE)

    def __enter__(self) -> BackgroundMirror:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread after its current write; what is missing then is for `Mirror.sync`."""
        self._closing.set()
        self._changed.set()
        self._thread.join()

    def _follow(self) -> None:
        warned = False
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            try:
                for record in list(self._records.values()):
                    if not self._closing.is_set():
                        self._mirror.sync(record, self._closing.is_set)
                        self._answers = True
                if warned:
                    self._warn("tracking: it answers again")
                    warned = False
            except ValueError as error:
                self._answers = False
                if not warned:
                    self._warn(f"{error}; the search runs on, autonat sync completes it later")
                    warned = True
                self._changed.set()
                self._closing.wait(RETRY_SECONDS)
