from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from trials.lab import Lab
from trials.record import hold as module
from trials.record.driver import STALE
from trials.record.hold import ATTRIBUTE, hold, refuse_running
from trials.record.record import Record
from trials.record.storage import open_storage


@pytest.fixture
def url(lab: Lab) -> str:
    Record.create(lab.record_url, "study", {})
    return lab.record_url


def told(url: str) -> dict[str, Any] | None:
    study = optuna.load_study(study_name="study", storage=open_storage(url))
    found: dict[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
    return found


def say(url: str, **changed: Any) -> None:
    driver = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": "2026-11-25 12:00:00",
        "seen": time.time(),
        "token": "another",
    }
    study = optuna.load_study(study_name="study", storage=open_storage(url))
    study.set_user_attr(ATTRIBUTE, driver | changed)


def test_the_second_driver_is_told_who_runs_it(url: str) -> None:
    with hold(url, "study"):
        with (
            pytest.raises(
                ValueError, match=f"study study has been running in process {os.getpid()} on "
            ),
            hold(url, "study"),
        ):
            pass
        assert told(url) is not None
    assert told(url) is None
    with hold(url, "study"):
        pass


def test_it_shows_signs_of_life(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    with hold(url, "study"):
        first = told(url)
        time.sleep(0.5)
        second = told(url)
    assert first is not None
    assert second is not None
    assert second["seen"] > first["seen"]


def test_a_clock_that_runs_ahead_does_not_keep_a_dead_driver_alive(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    say(url, host="elsewhere", seen=time.time() + 3600)
    refuse_running(url, "a", ["study"])
    with hold(url, "study"):
        pass
    say(url, host="elsewhere", seen=time.time())
    with pytest.raises(ValueError, match="search a has been running in process"):
        refuse_running(url, "a", ["study"])


def test_a_driver_that_died_here_is_followed_at_once(url: str) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    say(url, pid=dead.pid)
    with hold(url, "study"):
        found = told(url)
    assert found is not None
    assert found["pid"] == os.getpid()


def test_one_that_died_elsewhere_after_a_while(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    say(url, host="elsewhere", seen=time.time() - STALE / 2)
    with pytest.raises(ValueError, match="on elsewhere since"), hold(url, "study"):
        pass
    say(url, host="elsewhere", seen=time.time() - 2 * STALE)
    with hold(url, "study"):
        pass


@pytest.mark.parametrize("apart", [-2 * STALE, 2 * STALE])
def test_one_that_lives_elsewhere_under_another_clock_is_not_taken_over(
    url: str, monkeypatch: pytest.MonkeyPatch, apart: float
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.6)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            say(url, host="elsewhere", seen=time.time() + apart)

    say(url, host="elsewhere", seen=time.time() + apart)
    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(ValueError, match="on elsewhere since"), hold(url, "study"):
            pass
    finally:
        ended.set()
        beating.join()
    with hold(url, "study"):  # it has died
        pass


def test_who_was_taken_over_stops(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)

    def wait() -> None:
        with hold(url, "study"):
            for _ in range(100):  # as often as the other gives signs of life
                say(url, host="elsewhere")
                threading.Event().wait(0.2)

    with pytest.raises(KeyboardInterrupt):
        wait()
    found = told(url)
    assert found is not None
    assert found["host"] == "elsewhere"


def test_two_that_begin_at_once(url: str, tmp_path: Path) -> None:
    """At most one of them runs."""
    code = (
        "import sys, time\n"
        "from trials.record.hold import hold\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "try:\n"
        "    with hold(sys.argv[1], 'study'):\n"
        "        time.sleep(2)\n"
        "        print('ran')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    begin = str(time.time() + 12)
    words = [sys.executable, "-c", code, url, begin]
    pair = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in pair)
    assert said[0] == "ran"
    assert "has been running in process" in said[1]
