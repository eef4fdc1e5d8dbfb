from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from search.measurement import Measurement
from search.strategy import GenerationStrategy
from tests.trials.tracking.runs import GOOD, SPACE, children, settings, until
from trials.lab import Lab
from trials.record.record import Record
from trials.record.studies import study_ids
from trials.tracking.background_mirror import BackgroundMirror
from trials.tracking.mirror import Mirror, Outcome
from trials.tracking.views import run_views, searches_view


@pytest.fixture
def lab(with_mlflow: Lab) -> Lab:
    return with_mlflow


def test_a_child_run_an_evaluation_with_its_schedule_and_fid(lab: Lab, record: Record) -> None:
    mirror = Mirror(lab)
    assert mirror.sync(record) == 9
    runs = {int(run.data.tags["autonat.probe"]): run for run in children(lab, record)}
    assert len(runs) == len(record.evaluations)
    for evaluation in record.evaluations:
        run, probe = runs[evaluation.probe.number], evaluation.probe
        params = {k: float(v) for k, v in run.data.params.items() if k[-1].isdigit()}
        assert params == probe.strategy.parameters()
        assert run.data.params["seed"] == str(probe.seed)
        if evaluation.measurement:
            assert run.data.metrics["fid"] == evaluation.measurement.value
            assert run.info.status == "FINISHED"
        else:
            assert run.info.status == "FAILED"
            assert run.data.tags["reason"] == "no"
        assert run.data.tags["mlflow.parentRunId"] == mirror.parent(record)
    text = mlflow.artifacts.load_dict(f"{runs[3].info.artifact_uri}/strategy.json")
    assert GenerationStrategy.from_json(text) == record.evaluations[3].probe.strategy


def test_a_stopped_evaluation_is_killed_and_its_fid_goes_by_another_name(
    lab: Lab, record: Record
) -> None:
    last = record.evaluations[-1].probe
    probe = last.__class__(9, last.strategy, 100, last.seed, 9, "sample")
    record.add(probe, Measurement(1.5, None, 25, 4, 0.1), SPACE)
    Mirror(lab).sync(record)
    run = next(r for r in children(lab, record) if r.data.tags["autonat.probe"] == "9")
    assert run.info.status == "KILLED"
    assert run.data.metrics["fid_stopped"] == 1.5
    assert "fid" not in run.data.metrics
    assert run.data.metrics["images"] == 25


def test_syncing_again_and_from_elsewhere_adds_nothing(lab: Lab, record: Record) -> None:
    Mirror(lab).sync(record)
    assert Mirror(lab).sync(Record.open(lab.record_url, "study")) == 0
    assert len(children(lab, record)) == 9


@pytest.mark.parametrize("lost", ["log_batch", "log_dict"])
def test_a_parent_whose_server_was_lost_is_completed(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    with monkeypatch.context() as patch:

        def gone(*_: object, **__: object) -> None:
            raise MlflowException("the server is gone")

        patch.setattr(MlflowClient, lost, gone)
        with pytest.raises(ValueError, match="the server is gone"):
            Mirror(lab).sync(record)
    mirror = Mirror(lab)
    mirror.sync(record)
    run = run_of(lab, mirror, record)
    assert run.data.params["optimiser"]
    told = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/settings.json")
    assert told["kind"] == record.settings["kind"]


def test_a_child_that_was_cut_off_is_written_again(lab: Lab, record: Record) -> None:
    Mirror(lab).sync(record)
    client = MlflowClient(lab.tracking_uri)
    victim = next(r for r in children(lab, record) if r.data.tags["autonat.probe"] == "4")
    client.update_run(victim.info.run_id, status="RUNNING")
    assert Mirror(lab).sync(record) == 1
    runs = children(lab, record)
    assert len(runs) == 9
    assert {r.info.status for r in runs} == {"FINISHED", "FAILED"}


def test_finish_attaches_files_and_metrics_to_the_parent(
    lab: Lab, record: Record, tmp_path: Path
) -> None:
    mirror = Mirror(lab)
    file = tmp_path / "best.json"
    file.write_text(json.dumps({"a": 1}))
    mirror.finish(record, Outcome([file], {"test_fid": 2.5}))
    parent = MlflowClient(lab.tracking_uri).get_run(mirror.parent(record) or "")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["test_fid"] == 2.5
    assert mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/best.json") == {"a": 1}


def test_a_child_that_was_not_finished_is_not_written_twice(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, whole = Mirror(lab), MlflowClient.log_text

    def cut_off(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(MlflowClient, "log_text", cut_off)
    with pytest.raises(ValueError, match="TimeoutError"):
        mirror.sync(record)
    monkeypatch.setattr(MlflowClient, "log_text", whole)
    mirror.sync(record)
    runs = children(lab, record)
    assert len(runs) == 9
    assert "RUNNING" not in {run.info.status for run in runs}


def test_what_is_measured_again_leaves_when_a_store_answers_again(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, delete = Mirror(lab), MlflowClient.delete_run
    mirror.sync(record)
    record.retry_failed()

    def away(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(MlflowClient, "delete_run", away)
    with pytest.raises(ValueError, match="TimeoutError"):
        mirror.sync(record)
    monkeypatch.setattr(MlflowClient, "delete_run", delete)
    mirror.sync(record)
    assert len(children(lab, record)) == len(record.evaluations) == 8


def status(lab: Lab, mirror: Mirror, record: Record) -> str:
    return str(MlflowClient(lab.tracking_uri).get_run(mirror.parent(record) or "").info.status)


def test_a_parent_says_whether_its_search_runs(lab: Lab, record: Record) -> None:
    mirror = Mirror(lab)

    def followed(finished: bool, error: BaseException | None = None) -> str:
        with (
            contextlib.suppress(BaseException),
            BackgroundMirror(mirror, print, lambda: finished) as following,
        ):
            following.changed(record)
            until(lambda: mirror.behind(record) == 0 and status(lab, mirror, record) == "RUNNING")
            if error is not None:
                raise error
        return status(lab, mirror, record)

    assert followed(False) == "KILLED"
    assert followed(False, KeyboardInterrupt()) == "KILLED"
    assert followed(False, ValueError()) == "FAILED"
    assert followed(True) == "FINISHED"
    mirror.end(record, "KILLED")
    assert status(lab, mirror, record) == "FINISHED"


def run_of(lab: Lab, mirror: Mirror, record: Record) -> mlflow.entities.Run:
    return MlflowClient(lab.tracking_uri).get_run(mirror.parent(record) or "")


def test_a_search_has_curves_over_the_images_so_far(lab: Lab, record: Record) -> None:
    mirror, client = Mirror(lab), MlflowClient(lab.tracking_uri)
    mirror.sync(record)
    last = record.evaluations[-1].probe
    record.add(last.__class__(9, last.strategy, 100, last.seed, 9, "sample"), GOOD, SPACE)
    again = Mirror(lab)  # as in another process, which resumes
    again.sync(record)
    again.sync(record)
    images, best, points = 0, float("inf"), []
    for evaluation in record.evaluations:
        images += evaluation.images
        if evaluation.measurement is not None:
            best = min(best, evaluation.measurement.value)
            points.append((images, evaluation.measurement.value, best))
    run = mirror.parent(record) or ""
    seen = [(m.step, m.value) for m in client.get_metric_history(run, "fid")]
    lowest = [(m.step, m.value) for m in client.get_metric_history(run, "best_fid")]
    assert seen == [(step, value) for step, value, _ in points]
    assert lowest == [(step, value) for step, _, value in points]
    assert len(points) == 9  # one failed, and its images count
    assert points[-1][0] == 1000


def test_an_experiment_of_searches_alone_says_what_they_are(lab: Lab, record: Record) -> None:
    mirror, client = Mirror(lab), MlflowClient(lab.tracking_uri)
    mirror.sync(record)
    searches = client.get_experiment_by_name("autonat")
    assert searches is not None
    (run,) = client.search_runs([searches.experiment_id])
    told = {"T": "2", "method": "random", "objective": "simulated", "kind": "search"}
    assert told.items() <= run.data.tags.items()
    view = json.loads(json.loads(searches.tags["mlflow.sharedViewState.searches"])["state"])
    assert view["selectedColumns"][0] == "metrics.`test_fid`"
    assert searches_view(lab, "autonat").endswith("&viewStateShareKey=searches")


def test_the_list_of_searches_has_no_column_that_stays_empty(lab: Lab, record: Record) -> None:
    client = MlflowClient(lab.tracking_uri)
    Mirror(lab).sync(record)
    leading = {**record.settings, "protocol": {"metric": "fid-leading"}}
    told = {**leading, "reported": {"protocol": {"metric": "fid"}}}
    for name, asked in (("reported in fid", told), ("another metric", leading)):
        Mirror(lab).sync(Record.create(lab.record_url, name, asked))
    searches = client.get_experiment_by_name("autonat")
    assert searches is not None
    view = json.loads(json.loads(searches.tags["mlflow.sharedViewState.searches"])["state"])
    numbers = [c.split("`")[1] for c in view["selectedColumns"] if c.startswith("metrics.")]
    first = ["test_fid", "test_fid_se", "best_fid", "best_fid-leading"]
    others = ["test_fid-leading", "test_fid-leading_se"]
    assert numbers == [*first, *others, "images", "forward_passes"]


def test_children_that_earlier_versions_kept_among_the_searches_are_known(
    lab: Lab, record: Record
) -> None:
    client = MlflowClient(lab.tracking_uri)
    mirror = Mirror(lab)
    mirror.sync(record)
    database = sqlite3.connect(lab.folder / "mlflow.db")
    names = "select experiment_id, name from experiments"
    ids = {name: number for number, name in database.execute(names)}
    database.execute("update runs set experiment_id = ?", [ids["autonat"]])
    database.commit()
    database.close()
    assert Mirror(lab).sync(record) == 0
    assert len(client.search_runs([str(ids["autonat"])])) == 10


def test_an_outcome_is_told_once_and_what_people_wrote_stays(lab: Lab, record: Record) -> None:
    mirror, client = Mirror(lab), MlflowClient(lab.tracking_uri)
    found = Outcome((), {"test_fid": 2.5}, {"mask_ratio": "0.9"}, "## found")
    mirror.finish(record, found)
    run = run_of(lab, mirror, record)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("## found")
    assert record.study_id in note  # the link to its evaluations
    client.set_tag(run.info.run_id, "mlflow.note.content", f"{note}\n\nmine")
    Mirror(lab).finish(record, found)
    assert len(client.get_metric_history(run.info.run_id, "test_fid")) == 1
    # After failures were tried again there may be another winner; MLflow changes no parameter.
    other = Outcome((), {}, {"mask_ratio": "0.8"}, "## other")
    for _ in range(2):
        Mirror(lab).finish(record, other)
    run = run_of(lab, mirror, record)
    assert run.data.params["mask_ratio"] == "0.9"
    assert run.data.params["mask_ratio 2"] == "0.8"
    assert "mask_ratio 3" not in run.data.params
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("## other")
    assert note.endswith("\n\nmine")
    assert "found" not in note
    # MLflow cuts what is longer, from the end.
    for _ in range(2):
        Mirror(lab).finish(record, Outcome((), {}, {}, "## long\n" + "| a | row |\n" * 1000))
    note = run_of(lab, mirror, record).data.tags["mlflow.note.content"]
    assert 7900 < len(note) <= 8000
    assert note.count("## long") == note.count(record.study_id) == 1
    assert "| a | row |\n\n… (too long for MLflow" in note
    assert note.endswith("\n\nmine")


def test_runs_that_were_cut_off_hide_none_of_later_pages(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.tracking.client.PAGE", 2)
    Mirror(lab).sync(record)
    client = MlflowClient(lab.tracking_uri)
    for run in children(lab, record)[:3]:
        client.update_run(run.info.run_id, "RUNNING")
    assert Mirror(lab).sync(record) == 3
    assert len(children(lab, record)) == len(record.evaluations)


def test_a_study_of_the_same_name_of_another_lab_is_another_run(
    lab: Lab, record: Record, tmp_path: Path
) -> None:
    other = Lab.open(tmp_path / "other", tracking_uri=lab.tracking_uri)
    same = Record.create(other.record_url, record.name, settings())
    runs: dict[str, str | None] = {}
    for where, one in ((lab, record), (other, same)):
        mirror = Mirror(where)
        mirror.sync(one)
        runs[one.study_id] = mirror.parent(one)
    found = run_views(lab)
    assert {study: found[study].split("/")[-1] for study in runs} == runs
    assert study_ids(other.record_url) == {same.name: same.study_id}
