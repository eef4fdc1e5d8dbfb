"""Mirrors the record in MLflow: a parent run for each study, a child run for each evaluation.

What MLflow lacks is found by comparing it with the record, so the same code mirrors a running
search, a resumed one and, with `autonat sync`, one whose MLflow server was down. It never stops a
search: any error of the store becomes one line, and the write is tried again later.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from search.measurement import Measurement
from trials.lab import Lab
from trials.record.evaluation import Evaluation
from trials.record.kinds import SEARCH, alternation_study, reported_metric
from trials.record.own_words import with_own_words
from trials.record.record import Record
from trials.tracking.client import NOTE_TAG, Experiments, all_runs, connect, store_error
from trials.tracking.contents import (
    PARENT,
    PROBE_TAG,
    TRIAL_TAG,
    of_evaluation,
    of_study,
)
from trials.tracking.curves import Curve, best_name
from trials.tracking.views import (
    ALTERNATION_TAG,
    STUDY_NAME_TAG,
    STUDY_TAG,
    runs_view,
    show_numbers,
)

MOST_AT_ONCE = 1000
"""Metrics that MLflow takes in one call."""
LONGEST_RUN_NAME = 250
CUT = "\n\n… (too long for MLflow; the report and best.json have all of it)"

Ending = Literal["FINISHED", "KILLED", "FAILED"]
"""How a study ended: it is done, it was interrupted, or an error stopped it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a study, for its run.

    Attributes:
        files: to attach.
        metrics: its numbers.
        parameters: the schedules of its winner, to be read.
        description: in Markdown.
    """

    files: Sequence[Path] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


class Mirror:
    """Writes records to the MLflow store of a lab. It may be used by one thread at a time.

    Args:
        lab: names the store; if that is a database, artifacts are kept in the lab.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._client: MlflowClient | None = None
        self._experiments = Experiments("", "")
        self._parents: dict[str, str] = {}
        self._mirrored: dict[str, dict[int, str]] = {}
        self._cut_off: set[str] = set()
        self._curves: dict[str, Curve] = {}

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

    def finish(self, record: Record, outcome: Outcome) -> None:
        """Bring the run of a study up to date, add what the study found, and end the run.

        Raises:
            ValueError: the store does not answer.
        """
        self.sync(record)
        with self._errors_in_one_line():
            client, parent = self._connected(), self._parent(record)
            for file in outcome.files:
                client.log_artifact(parent, str(file))
            known = client.get_run(parent).data
            tags = []
            if outcome.description:
                link = self._link_to_evaluations(record)
                tags.append(_note(outcome.description, link, known.tags))
            # The same time for the same numbers: what is logged again is not there twice.
            when = _last_time(record)
            client.log_batch(
                parent,
                [Metric(key, value, when, 0) for key, value in outcome.metrics.items()],
                [Param(*one) for one in _loggable(outcome.parameters, known.params).items()],
                tags,
            )
            client.set_terminated(parent)

    def _link_to_evaluations(self, record: Record) -> str:
        of_study = f"tags.`{STUDY_TAG}` = '{record.study_id}'"
        metric = "" if record.settings["kind"] != SEARCH else record.metric
        view = runs_view(self._experiments.evaluations, of_study, metric)
        return f"[All evaluations of this study, with their schedules]({view})"

    def finish_alternation(
        self,
        name: str,
        files: Iterable[Path],
        metric: str,
        values: Mapping[int, float],
        description: str,
    ) -> None:
        """Attach files to the run of an alternation, log its metric round by round, and end it.

        Args:
            name: of the alternation.
            files: to attach.
            metric: its key.
            values: of the metric, by round.
            description: in Markdown.

        Raises:
            ValueError: the store does not answer.
        """
        with self._errors_in_one_line():
            client, run = self._connected(), self._alternation(name)
            for file in files:
                client.log_artifact(run, str(file))
            points = [Metric(metric, value, 0, round_) for round_, value in values.items()]
            tag = _note(description, "", client.get_run(run).data.tags)
            client.log_batch(run, points, tags=[tag])
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
        self._draw_on(client, parent, record)
        if record.study_id not in self._mirrored or record.study_id in self._cut_off:
            self._mirrored[record.study_id] = self._finished_children(record)
            self._cut_off.discard(record.study_id)
        mirrored = self._mirrored[record.study_id]
        for superseded in record.superseded:
            if superseded.number in mirrored:
                client.delete_run(mirrored[superseded.number])
                # After the deletion, which is tried again if it fails.
                del mirrored[superseded.number]
        added = 0
        for evaluation in record.evaluations:
            if evaluation.number not in mirrored and not stopped():
                self._cut_off.add(record.study_id)  # in case the next call fails half-way
                run_id = self._add_child(client, parent, record, evaluation)
                self._cut_off.discard(record.study_id)
                mirrored[evaluation.number] = run_id
                added += 1
        return added

    def _draw_on(self, client: MlflowClient, parent: str, record: Record) -> None:
        """Add to a study's curves what they lack."""
        curve = self._curves.pop(record.study_id, None)
        if curve is None:
            drawn = client.get_metric_history(parent, best_name(record.metric))
            curve = Curve(max((point.step for point in drawn), default=0))
        points = curve.new_points(record)
        for first in range(0, len(points), MOST_AT_ONCE):
            client.log_batch(parent, points[first : first + MOST_AT_ONCE])
        self._curves[record.study_id] = curve  # now that they are there: else the store is asked

    def _connected(self) -> MlflowClient:
        if self._client is None:
            self._client, self._experiments = connect(self._lab)
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
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` = '{PARENT}'"
        contents = of_study(record)
        tested = reported_metric(record.settings)
        numbers = (f"test_{tested}", f"test_{tested}_se", best_name(record.metric))
        show_numbers(client, self._experiments.searches, numbers)
        found = client.search_runs([self._experiments.searches], query, max_results=1)
        if found:
            known = found[0].data.tags
            missing = {key: value for key, value in contents.tags.items() if key not in known}
            if missing:  # of an earlier version
                client.log_batch(found[0].info.run_id, tags=[RunTag(*t) for t in missing.items()])
            if not contents.parameters.keys() <= found[0].data.params.keys():
                self._describe(found[0], record, contents.parameters)  # the server was lost before
            return str(found[0].info.run_id)
        tags = dict(contents.tags)
        for above in self._above(record):
            tags[MLFLOW_PARENT_RUN_ID] = above
        name = record.name[:LONGEST_RUN_NAME]
        run = client.create_run(self._experiments.searches, run_name=name, tags=tags)
        self._describe(run, record, contents.parameters)
        return str(run.info.run_id)

    def _describe(self, run: Run, record: Record, parameters: Mapping[str, str]) -> None:
        """Log what a run is of; the parameters come last, and tell that it is whole."""
        client = self._connected()
        client.log_dict(run.info.run_id, record.settings, "settings.json")
        own = _loggable(parameters, run.data.params)
        client.log_batch(run.info.run_id, params=[Param(*one) for one in own.items()])

    def _alternation(self, name: str) -> str:
        """The run of an alternation, above the runs of its searches; it is created if missing."""
        client = self._connected()
        record = Record.open(self._lab.record_url, alternation_study(name))
        query = f"tags.`{ALTERNATION_TAG}` = '{record.study_id}'"
        found = client.search_runs([self._experiments.searches], query, max_results=1)
        tags = {ALTERNATION_TAG: record.study_id, STUDY_NAME_TAG: record.name}
        run = (
            found[0]
            if found
            else client.create_run(self._experiments.searches, run_name=name, tags=tags)
        )
        if not client.list_artifacts(run.info.run_id):
            client.log_dict(run.info.run_id, record.settings, "settings.json")
        return str(run.info.run_id)

    def _finished_children(self, record: Record) -> dict[int, str]:
        """The ids of the finished child runs, by the numbers of their evaluations.

        An unfinished child run, whose writing was cut off, is deleted.
        """
        client = self._connected()
        query = f"tags.`{STUDY_TAG}` = '{record.study_id}' and tags.`{PROBE_TAG}` != '{PARENT}'"
        where = [*self._experiments]  # earlier versions kept them among the searches
        finished: dict[int, str] = {}
        # A run without the tag belongs to the first of several evaluations of its probe.
        recorded = (*record.evaluations, *record.superseded)
        first = {e.probe.number: e.number for e in sorted(recorded, key=lambda e: -e.number)}
        for run in all_runs(client, where, query):
            if run.info.status == "RUNNING":
                client.delete_run(run.info.run_id)
            else:
                tags = run.data.tags
                number = tags.get(TRIAL_TAG) or first.get(int(tags[PROBE_TAG]), -1)
                finished[int(number)] = run.info.run_id
        return finished

    def _add_child(
        self, client: MlflowClient, parent: str, record: Record, evaluation: Evaluation
    ) -> str:
        probe, result = evaluation.probe, evaluation.result
        ended = int(evaluation.finished.timestamp() * 1000)
        seconds = result.seconds if isinstance(result, Measurement) else 0.0
        contents = of_evaluation(record, evaluation, parent)
        run = client.create_run(
            self._experiments.evaluations,
            start_time=ended - int(seconds * 1000),
            run_name=f"{record.name} {probe.number} {probe.role}"[:LONGEST_RUN_NAME],
            # All tags at once: each later call costs the store several transactions.
            tags=contents.tags,
        )
        run_id = run.info.run_id
        client.log_batch(
            run_id,
            [Metric(key, value, ended, 0) for key, value in contents.metrics.items()],
            [Param(key, value) for key, value in contents.parameters.items()],
        )
        client.log_text(run_id, json.dumps(probe.strategy.to_json(), indent=1), "strategy.json")
        status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[evaluation.state]
        client.set_terminated(run_id, status, ended)
        return str(run_id)


def _last_time(record: Record) -> int:
    """When the last evaluation ended, in milliseconds; 0 of a study that has none."""
    return max((int(e.finished.timestamp() * 1000) for e in record.evaluations), default=0)


def _loggable(parameters: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Parameters under names that MLflow, which never changes one, takes them under: where
    evaluations were tried again and there is another winner, "mask_ratio 2"."""
    found: dict[str, str] = {}
    for name, value in parameters.items():
        names = (name if k == 1 else f"{name} {k}" for k in itertools.count(1))
        free = next(n for n in names if known.get(n, value) == value)
        found[free] = value
    return found


def _note(description: str, link: str, tags: Mapping[str, str]) -> RunTag:
    """The description of a run with a link and what people wrote in it.

    MLflow would cut a longer one at its end, and with it what tells our words from theirs. Their
    words alone may still be too long.
    """
    before = tags.get(NOTE_TAG, "")
    note = with_own_words(f"{description}\n\n{link}".strip(), before)
    over = len(note) - MAX_TAG_VAL_LENGTH
    if over > 0:
        cut = description[: -over - len(CUT)].rpartition("\n")[0] + CUT
        note = with_own_words(f"{cut}\n\n{link}".strip(), before)
    return RunTag(NOTE_TAG, note)
