"""Mirrors the record in MLflow: a parent run for each study, a child run for each evaluation.

What MLflow lacks is found by comparing it with the record, so the same code mirrors a running
search, a resumed one and, with `autonat sync`, one whose MLflow server was down. It never stops a
search: any error of the store becomes one line, and the write is tried again later.
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from search.measurement import Measurement
from search.strategy_file import image_flops
from trials.lab import Lab
from trials.record.evaluation import Evaluation
from trials.record.kinds import alternation_study
from trials.record.record import Record
from trials.tracking.client import connect, store_error

STUDY_TAG, PROBE_TAG = "autonat.study_id", "autonat.probe"
TRIAL_TAG = "autonat.trial"
"""The number of the evaluation; a probe that failed and was tried again has several evaluations."""
ALTERNATION_TAG = "autonat.alternation"
PAGE = 1000
LONGEST_RUN_NAME = 250

Ending = Literal["FINISHED", "KILLED", "FAILED"]
"""How a study ended: it is done, it was interrupted, or an error stopped it."""


class Mirror:
    """Writes records to the MLflow store of a lab. It may be used by one thread at a time.

    Args:
        lab: names the store; if that is a database, artifacts are kept in the lab.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._parents: dict[str, str] = {}
        self._mirrored: dict[str, dict[int, str]] = {}
        self._cut_off: set[str] = set()

    def sync(self, record: Record, stopped: Callable[[], bool] = lambda: False) -> int:
        """Bring MLflow up to date with a record.

        Args:
            record: of a study.
            stopped: called before each evaluation; True leaves the remaining ones for later.

        Returns:
            How many evaluations were added.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            return self._sync(record, stopped)

    def begin(self, record: Record) -> None:
        """Mark a study as running, also where it was interrupted or killed before.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            for run in (self._parent(record), *self._above(record)):
                self._connected().update_run(run, status="RUNNING")

    def end(self, record: Record, how: Ending) -> None:
        """Mark a study as ended if MLflow shows it as running.

        If the study did not finish, the alternation that it belongs to is marked as well.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            above = [] if how == "FINISHED" else self._above(record)
            for run in (self._parent(record), *above):
                self._end(run, how)

    def end_alternation(self, name: str, how: Ending) -> None:
        """Mark an alternation as ended if MLflow shows it as running.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            self._end(self._alternation(name), how)

    def _end(self, run: str, how: Ending) -> None:
        client = self._connected()
        if client.get_run(run).info.status == "RUNNING":
            client.set_terminated(run, how)

    def finish(self, record: Record, files: Iterable[Path], metrics: dict[str, float]) -> None:
        """Attach files to the parent run of a study, log its final metrics, and end it.

        Raises:
            ValueError: the store does not answer.
        """
        self.sync(record)
        with self._errors_in_one_line():
            client, parent = self._connected(), self._parent(record)
            for file in files:
                client.log_artifact(parent, str(file))
            for key, value in metrics.items():
                client.log_metric(parent, key, value)
            client.set_terminated(parent)

    def finish_alternation(
        self, name: str, files: Iterable[Path], metrics: Mapping[str, Sequence[float]]
    ) -> None:
        """Attach files to the run of an alternation, log its metrics round by round, and end it.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            client, run = self._connected(), self._alternation(name)
            for file in files:
                client.log_artifact(run, str(file))
            for key, values in metrics.items():
                for round_, value in enumerate(values, 1):
                    client.log_metric(run, key, value, step=round_)
            client.set_terminated(run)

    def parent(self, record: Record) -> str | None:
        """The run id of a study's parent run; None while it is not known."""
        return self._parents.get(record.study_id)

    def behind(self, record: Record) -> int:
        """How many evaluations of a record MLflow lacks, as far as is known."""
        return len(record.evaluations) - len(self._mirrored.get(record.study_id, ()))

    @contextlib.contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        """Turn any error of the store into one line without its password."""
        try:
            yield
        except Exception as error:
            said = store_error(self._lab.tracking_uri, error)
            raise ValueError(f"tracking {said}") from None

    def _sync(self, record: Record, stopped: Callable[[], bool]) -> int:
        client, parent = self._connected(), self._parent(record)
        if record.study_id not in self._mirrored or record.study_id in self._cut_off:
            self._mirrored[record.study_id] = self._finished_children(record)
            self._cut_off.discard(record.study_id)
        mirrored = self._mirrored[record.study_id]
        for superseded in record.superseded:
            if superseded.number in mirrored:
                client.delete_run(mirrored[superseded.number])
                del mirrored[
                    superseded.number
                ]  # after the deletion, which is tried again if it fails
        added = 0
        for evaluation in record.evaluations:
            if evaluation.number not in mirrored and not stopped():
                self._cut_off.add(record.study_id)  # in case the next call fails half-way
                run_id = self._add_child(client, parent, record, evaluation)
                self._cut_off.discard(record.study_id)
                mirrored[evaluation.number] = run_id
                added += 1
        return added

    def _connected(self) -> MlflowClient:
        if self._client is None:
            self._client, self._experiment = connect(self._lab)
        return self._client

    def _parent(self, record: Record) -> str:
        if record.study_id not in self._parents:
            self._parents[record.study_id] = self._find_or_start_parent(record)
        return self._parents[record.study_id]

    def _above(self, record: Record) -> list[str]:
        """The run of the alternation that the study's search belongs to; empty where there is
        none."""
        name = record.settings["search"].get("alternation")
        return [] if name is None else [self._alternation(name)]

    def _find_or_start_parent(self, record: Record) -> str:
        client = self._connected()
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` = 'parent'"
        found = client.search_runs([self._experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        settings = record.settings
        search = settings["search"]
        tags = {STUDY_TAG: record.study_id, PROBE_TAG: "parent", "autonat.study": record.name}
        for above in self._above(record):
            tags[MLFLOW_PARENT_RUN_ID] = above
        name = record.name[:LONGEST_RUN_NAME]
        run = client.create_run(self._experiment, run_name=name, tags=tags)
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
        """The run of an alternation, above the runs of its searches; it is created if missing."""
        client = self._connected()
        record = Record.open(self._lab.record_url, alternation_study(name))
        query = f"tags.`{ALTERNATION_TAG}` = '{record.study_id}'"
        found = client.search_runs([self._experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {ALTERNATION_TAG: record.study_id, "autonat.study": record.name}
        run = client.create_run(self._experiment, run_name=name, tags=tags)
        client.log_dict(run.info.run_id, record.settings, "settings.json")
        return str(run.info.run_id)

    def _finished_children(self, record: Record) -> dict[int, str]:
        """The ids of the finished child runs, by the numbers of their evaluations.

        An unfinished child run, whose writing was cut off, is deleted.
        """
        client = self._connected()
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` != 'parent'"
        finished: dict[int, str] = {}
        # A run without the tag belongs to the first of several evaluations of its probe.
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
        # All tags are set at once: each further call costs the store several transactions.
        tags = {
            STUDY_TAG: record.study_id,
            PROBE_TAG: str(probe.number),
            TRIAL_TAG: str(evaluation.number),
            MLFLOW_PARENT_RUN_ID: parent,
            "role": probe.role,
        }
        values: dict[str, float] = {"images": evaluation.images}
        if isinstance(result, Measurement):
            metric = result.metric
            # Values compare only at equal n, so that of a stopped evaluation has another name.
            values |= {f"{metric}_stopped" if evaluation.stopped else metric: result.value}
            values["seconds"] = seconds
            values["forward_passes"] = result.forward_passes
            flops = image_flops(record.settings["objective"], probe.strategy)
            if flops is not None:
                values["flops"] = flops
            more = {
                f"{metric}_se": result.standard_error,
                f"{metric}_infinite": result.value_infinite,
                "validation_loss": result.validation_loss,
            }
            values |= {name: value for name, value in more.items() if value is not None}
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
            run_name=f"{record.name} {probe.number} {probe.role}"[:LONGEST_RUN_NAME],
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
