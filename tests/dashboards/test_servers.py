"""Both dashboards, really started on real files."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import flask
import optuna
import pytest

from dashboards.servers import Ports, open_dashboards
from trials.cli.dashboard import optuna_dashboard
from trials.lab import Lab

OPEN = """
import sys
from pathlib import Path
import flask
from optuna_dashboard import wsgi
from dashboards.servers import Ports, open_dashboards
record, tracking, artifacts, *ports = sys.argv[1:]

def live(mlflow, optuna):
    page = flask.Flask("page")
    page.add_url_rule("/", view_func=lambda: {"mlflow": mlflow, "optuna": optuna})
    return page

ports = Ports(*map(int, ports))
open_dashboards(lambda: wsgi(record), tracking, Path(artifacts), ports=ports, live=live)
"""


def sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def call(address: str, **body: Any) -> Any:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def processes_naming(text: str) -> list[str]:
    """Command lines of living processes that hold the text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if text in line:
            found.append(line)
    return found


def test_all_open_on_the_files_and_stop_without_orphans(tmp_path: Path) -> None:
    record, tracking = sqlite(tmp_path / "record.db"), sqlite(tmp_path / "mlflow.db")
    optuna.create_study(study_name="digits-tpe", storage=record)
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        taken = []
        for busy in (one, two, three):
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            taken.append(busy.getsockname()[1])
        arguments = [record, tracking, str(tmp_path / "artifacts"), *map(str, taken)]
        opened = subprocess.Popen(
            [sys.executable, "-c", OPEN, *arguments], stdout=subprocess.PIPE, text=True
        )
        try:
            assert opened.stdout is not None
            lines = [opened.stdout.readline() for _ in range(3)]
            live, mlflow, dashboard = (line.split("http")[1].split()[0] for line in lines)
            live, mlflow, dashboard = f"http{live}", f"http{mlflow}", f"http{dashboard}"
            assert opened.stdout.readline().startswith("Ctrl-C")

            used = {int(a.split(":")[2].split("/")[0]) for a in (live, mlflow, dashboard)}
            assert len(used) == 3
            assert not used & {*taken}
            assert [
                f"(port {port} is taken)" in line
                for line, port in zip(lines, (taken[2], taken[0], taken[1]), strict=True)
            ] == [True] * 3
            assert lines[0].startswith("live page")
            assert call(live) == {"mlflow": f"{mlflow}/", "optuna": dashboard}
            studies = call(dashboard.removesuffix("/dashboard") + "/api/studies")
            assert [s["study_name"] for s in studies["study_summaries"]] == ["digits-tpe"]
            call(mlflow + "/api/2.0/mlflow/experiments/create", name="digits")
            with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
                names = database.execute("select name from experiments").fetchall()
            assert ("digits",) in names
            # All users see command lines, and an address may hold a password.
            assert len(processes_naming(tracking)) == 1
        finally:
            opened.send_signal(signal.SIGTERM)
            code = opened.wait(30)
            if opened.stdout is not None:
                opened.stdout.close()
    assert code == 0
    assert processes_naming(str(tmp_path)) == []


def test_a_server_that_stops_by_itself_is_told_with_its_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    ports = Ports(mlflow=free, live=free)  # people ask for that of the live page alone
    before, told = signal.getsignal(signal.SIGTERM), list[str]()

    def live(mlflow: str, optuna: str) -> flask.Flask:
        told.append(mlflow)
        return flask.Flask("page")

    with pytest.raises(ValueError, match=r"MLflow stopped \(exit code \d+\)") as caught:
        open_dashboards(lambda: flask.Flask("page"), "none://", tmp_path, ports, "#/x", live)
    assert capsys.readouterr().out == f"live page         http://127.0.0.1:{free}\n"
    assert told[0].endswith("/#/x")
    assert "none://" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is before
    assert processes_naming(str(tmp_path)) == []


def test_a_record_that_cannot_be_opened_ends_it_and_no_password_is_shown(tmp_path: Path) -> None:
    told = list[str]()

    def live(mlflow: str, optuna: str) -> flask.Flask:
        told.append(mlflow)
        return flask.Flask("page")

    absent = sqlite(tmp_path / "absent" / "record.db")
    with pytest.raises(ValueError, match=r"^record sqlite:.*unable to open database file$"):
        open_dashboards(
            lambda: optuna_dashboard(Lab.at(tmp_path, absent)),
            "http://me:secret@127.0.0.1:9/",
            tmp_path,
            view="#/x",
            live=live,
        )
    assert told == ["http://127.0.0.1:9/#/x"]


def test_a_port_that_is_taken_while_a_server_is_made_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.close()
        with socket.socket() as busy:

            def take() -> flask.Flask:
                busy.bind(("127.0.0.1", port))
                busy.listen()
                return flask.Flask("page")

            with pytest.raises(ValueError, match=rf"^optuna-dashboard: port {port} has just been"):
                open_dashboards(take, "http://127.0.0.1:9", tmp_path, ports=Ports(optuna=port))
