"""The mirror that follows a search in the background, whatever its store does."""

from __future__ import annotations

import _imp
import threading
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from benchmarks.servers import mlflow_server
from tests.trials.tracking.runs import GOOD, SPACE, children, until
from trials.lab import Lab
from trials.record.record import Record
from trials.tracking import background_mirror as background
from trials.tracking.background_mirror import BackgroundMirror
from trials.tracking.mirror import Mirror


@pytest.fixture
def lab(with_mlflow: Lab) -> Lab:
    return with_mlflow


def test_in_the_background_it_follows_a_search(lab: Lab, record: Record) -> None:
    mirror = Mirror(lab)
    warnings: list[str] = []
    following = BackgroundMirror(mirror, warnings.append, lambda: True)
    following.changed(record)
    until(lambda: mirror.behind(record) == 0)
    following.close("FINISHED")
    assert len(children(lab, record)) == 9
    assert warnings == []


def test_an_address_that_nobody_answers_is_one_line(record: Record, tmp_path: Path) -> None:
    away = Lab.open(tmp_path / "lab", tracking_uri="http://127.0.0.1:9")
    mirror = Mirror(away)
    with pytest.raises(ValueError, match="^tracking http://127.0.0.1:9: ") as caught:
        mirror.sync(record)
    assert "\n" not in str(caught.value)
    assert mirror.behind(record) == 9


def test_a_server_that_goes_away_and_comes_back(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.3)

    said: list[str] = []
    with mlflow_server(tmp_path) as server:
        lab = Lab.open(tmp_path / "served", tracking_uri=server.uri)
        mirror = Mirror(lab)
        following = BackgroundMirror(mirror, said.append, lambda: True)
        following.changed(record)
        until(lambda: mirror.behind(record) == 0)
        server.stop()
        last = record.evaluations[-1].probe
        record.add(last.__class__(9, last.strategy, 100, last.seed, 9, "sample"), GOOD, SPACE)
        following.changed(record)
        until(lambda: bool(said))
        assert mirror.behind(record) == 1
        server.start()
        until(lambda: len(said) == 2)
        following.close("FINISHED")
        assert mirror.behind(record) == 0
        assert "the search continues" in said[0]
        assert said[1] == "tracking: MLflow answers again"
        probes = sorted(int(run.data.tags["autonat.probe"]) for run in children(lab, record))
    assert probes == list(range(10))


def test_a_search_far_ahead_waits_for_a_store_that_answers_and_for_no_other(
    lab: Lab, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FAR_BEHIND", 2)
    monkeypatch.setattr(background, "PAUSE", 0.1)

    def seconds(following: BackgroundMirror) -> float:
        began = time.monotonic()
        following.changed(record)
        return time.monotonic() - began

    answering, said = Mirror(lab), []
    following = BackgroundMirror(answering, said.append, lambda: True)
    following.changed(record)
    deadline = time.monotonic() + 60
    while answering.behind(record) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seconds(following) < 0.05  # nothing is missing
    monkeypatch.setattr(answering, "behind", lambda _: 3)
    while seconds(following) < 0.1 and time.monotonic() < deadline:
        time.sleep(0.02)  # the thread has written, but not yet noted that it could
    assert time.monotonic() < deadline
    following.close("FINISHED")

    nobody = Mirror(Lab.open(tmp_path / "other", lab.record_url, "http://127.0.0.1:9"))
    following = BackgroundMirror(nobody, said.append, lambda: True)
    following.changed(record)
    while not said and time.monotonic() < deadline:
        time.sleep(0.02)
    assert nobody.behind(record) == len(record.evaluations) > 2
    assert seconds(following) < 0.05
    following.close("FINISHED")


def test_a_store_may_raise_whatever_it_likes_and_is_told_once(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    calls: list[None] = []

    def broken(*_: object, **__: object) -> None:
        calls.append(None)
        raise KeyError("unforeseen")

    monkeypatch.setattr(MlflowClient, "create_run", broken)
    said: list[str] = []
    following = BackgroundMirror(Mirror(lab), said.append, lambda: True)
    following.changed(record)
    until(lambda: len(calls) > 3)
    following.close("FINISHED")
    assert len(said) == 1
    assert "KeyError: 'unforeseen'; the search continues" in said[0]


def test_an_import_that_was_interrupted_does_not_stop_the_end(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may leave Python's import lock with the thread that it interrupted."""
    monkeypatch.setattr(background, "LONGEST_CLOSING", 60.0)
    said: list[str] = []
    _imp.acquire_lock()
    following = BackgroundMirror(Mirror(lab), said.append, lambda: True)
    following.changed(record)  # its thread now waits for the lock
    time.sleep(0.5)
    following.close("KILLED")
    assert said == []
    assert not _imp.lock_held()


def test_a_store_that_never_answers_does_not_stop_the_end(
    lab: Lab, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, answer = threading.Event(), threading.Event()

    def hanging(*_: object, **__: object) -> None:
        begun.set()
        answer.wait(60)

    monkeypatch.setattr(MlflowClient, "create_run", hanging)
    monkeypatch.setattr(background, "LONGEST_CLOSING", 0.2)
    said: list[str] = []
    following = BackgroundMirror(Mirror(lab), said.append, lambda: True)
    following.changed(record)
    assert begun.wait(20)
    following.close("FINISHED")
    answer.set()
    assert said == ["tracking: MLflow does not answer; autonat sync completes it later"]
