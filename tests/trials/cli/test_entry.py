from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trials.cli import train
from trials.lab import Lab
from trials.publishing import run

Autonat = Callable[..., tuple[int, str, str]]


CODE = "from trials.cli import entry; entry.main()"
SEARCH = """
    search --objective simulated --set latency=0.01 --name cut --steps 4 --optimiser random
    --images 100 --budget 4000 --workers 1 --test-images 100 --test-seeds 1
"""


@pytest.mark.parametrize(
    ("runner", "phase", "sent", "ignored"),
    [
        ("local", "importing", signal.SIGINT, False),
        pytest.param("ray", "starting Ray", signal.SIGINT, False, marks=pytest.mark.long),
        ("ray", "starting Ray", signal.SIGTERM, True),
        pytest.param("local", "searching", signal.SIGINT, False, marks=pytest.mark.long),
        ("ray", "searching", signal.SIGINT, False),
        pytest.param("local", "searching", signal.SIGTERM, True, marks=pytest.mark.long),
        pytest.param("local", "searching", signal.SIGHUP, False, marks=pytest.mark.long),
        pytest.param("local", "publishing", signal.SIGINT, False, marks=pytest.mark.long),
    ],
)
def test_interrupted_at_any_time_it_ends_with_a_line(
    runner: str, phase: str, sent: signal.Signals, ignored: bool, tmp_path: Path
) -> None:
    """A batch script's background job ignores Ctrl-C; SIGTERM ends it all the same."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *SEARCH.split(), "--runner", runner],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also where the tests run under nohup
            signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler),
        ),
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if phase in line:
            break
    time.sleep(0.3)
    process.send_signal(sent)
    lines += process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 130, "\n".join(lines)
    assert "interrupted" in lines[-1]
    assert ("--resume cut" in lines[-1]) == (phase in ("searching", "publishing"))
    assert not any("Traceback" in line for line in lines)
    closing = {"local": "cut: closing MLflow …", "ray": "cut: closing Ray and MLflow …"}
    assert (closing[runner] in map(str.strip, lines)) == (phase in ("searching", "publishing"))


@pytest.mark.long
def test_sigterm_to_the_whole_group_does_not_end_ray_before_the_search(tmp_path: Path) -> None:
    """As `timeout` sends it. A driver without its Ray waits for a minute, and dies."""
    words = SEARCH.replace("0.01", "0.5").replace("4000", "20000").split()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words, "--runner", "ray"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stderr is not None
    while "1/200" not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=45)[1].splitlines()
    assert process.returncode == 130
    assert said[-1].strip() == "interrupted; autonat search --resume cut continues it"


@pytest.mark.parametrize("kind", ["a terminal", pytest.param("a pipe", marks=pytest.mark.long)])
def test_a_search_goes_on_when_nobody_can_read_what_it_prints(kind: str, tmp_path: Path) -> None:
    """Such as in a terminal whose window was closed, or before a `tee` that Ctrl-C ended."""
    reading, writing = pty.openpty() if kind == "a terminal" else os.pipe()
    words = [*SEARCH.replace("4000", "3000").split(), "--runner", "local"]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        cwd=tmp_path,
        stdout=writing,
        stderr=writing,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,  # so that the terminal's end sends no signal
    )
    os.close(writing)
    seen = b""
    while b"evaluations" not in seen:
        seen += os.read(reading, 4096)
    os.close(reading)
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "autonat-lab" / "results" / "cut" / "report.html").exists()


@pytest.mark.long
def test_what_is_told_to_ignore_the_end_of_its_terminal_goes_on(tmp_path: Path) -> None:
    words = [*SEARCH.replace("4000", "3000").split(), "--runner", "local"]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    assert process.stderr is not None
    assert any("searching" in line for line in process.stderr)
    process.send_signal(signal.SIGHUP)
    assert "interrupted" not in process.communicate(timeout=120)[1]
    assert process.returncode == 0


LOST = """
import os, signal, subprocess, sys, time
from trials.cli import main as cli
from trials.cli import entry

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def like_ray(*_):
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.exit(1)

def in_a_finaliser():
    Dropped()

def after_a_fork():
    signal.signal(signal.SIGTERM, like_ray)
    os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))
    subprocess.run(["true"], preexec_fn=lambda: None)

def run():
    globals()[sys.argv[1]]()
    time.sleep(60)

cli.main = run
entry.main()
"""


@pytest.mark.parametrize("where", ["in_a_finaliser", "after_a_fork"])
def test_an_interrupt_that_meets_what_raises_nothing_is_not_lost(where: str) -> None:
    command = [sys.executable, "-c", LOST, where]
    ran = subprocess.run(command, stderr=subprocess.PIPE, timeout=50)
    assert ran.returncode == 130
    assert ran.stderr.endswith(b"autonat: interrupted\n")


def test_what_is_done_and_waited_for_is_said_and_a_finished_search_is_only_shown(
    autonat: Autonat, tmp_path: Path
) -> None:
    words = [*SEARCH.replace("4000", "200").split(), "--runner", "local", "--lab", tmp_path / "lab"]
    code, out, err = autonat(*words, "--json")
    assert code == 0
    waited = [line for line in err.splitlines() if line.startswith("cut: ")]
    assert waited[0] == err.splitlines()[0] == "cut: random on simulated, 200 images each"
    assert waited[1:] == [
        "cut: importing PyTorch, Ray and MLflow …",
        "cut: checking simulated and the settings …",
        "cut: searching, 0 of 2 evaluations are done …",
        "cut: closing MLflow …",
        "cut: publishing its files, its report and its runs in MLflow …",
        "cut: writing its report, its runs in MLflow and its notes in Optuna …",
    ]
    again = ["search", "--resume", "cut", "--lab", tmp_path / "lab"]
    code, shown, err = autonat(*again, "--json")  # Ray is what it would start
    assert (code, json.loads(shown)) == (0, json.loads(out))
    assert err.splitlines() == [
        "cut: resuming; reading its record …",
        "cut: finished with 2 evaluations; nothing is left to do",
    ]
    (tmp_path / "lab" / "results" / "cut" / "report.html").unlink()
    code, shown, err = autonat(*again, "--json")
    assert (code, json.loads(shown)) == (0, json.loads(out))
    assert "starting Ray" not in err
    assert (tmp_path / "lab" / "results" / "cut" / "report.html").exists()
    code, out, err = autonat(*words)
    assert (code, out) == (2, "")
    assert "importing" not in err
    assert "exists already" in err.splitlines()[-1]


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_what_was_not_begun_is_not_to_be_resumed(
    autonat: Autonat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "launch", interrupted)
    code, _, err = autonat("search", "--objective", "simulated", "--lab", tmp_path / "lab")
    assert code == 130
    assert err.endswith("\ninterrupted before there was anything to resume\n")


def test_a_training_goes_to_the_lab_of_its_study_file(
    autonat: Autonat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs: list[Path] = []
    addresses: list[object] = []

    def trained(_: str, __: object, lab: Lab, *more: object) -> None:
        labs.append(lab.folder)
        addresses.append(more[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_trained", trained)
    study = tmp_path / "study.yaml"
    study.write_text(f"objective: digits\nsteps: 4\nlab: {tmp_path / 'of the file'}\n")
    autonat("train", study)
    autonat("train", study, "--lab", tmp_path / "of the flag")
    autonat("train", "--objective", "digits")
    assert [lab.name for lab in labs] == ["of the file", "of the flag", "autonat-lab"]
    study.write_text("objective: digits\nsteps: 4\nray_address: ray://cluster:1\n")
    addresses.clear()
    autonat("train", study)  # one worker, which needs no Ray
    autonat("train", study, "--workers", "2")
    autonat("train", study, "--ray-address", "auto")
    assert addresses == [None, "ray://cluster:1", "auto"]


def test_a_training_says_how_it_goes_on(autonat: Autonat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_trained", interrupted)
    code, _, err = autonat("train", "--objective", "digits")
    assert code == 130
    assert "the same command resumes" in err
