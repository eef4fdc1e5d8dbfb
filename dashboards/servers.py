"""Opens the MLflow UI and optuna-dashboard on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

MLFLOW_PORT, OPTUNA_PORT = 5000, 8080
START_SECONDS = 120
"""The time in seconds that a server has to answer; MLflow needs ten seconds on two slow cores."""
STOP_SECONDS = 10
"""The time in seconds that a server has to stop before it is killed."""


def dashboard_commands(
    record_url: str,
    tracking_uri: str,
    artifacts: Path,
    host: str = "127.0.0.1",
    ports: tuple[int, int] = (MLFLOW_PORT, OPTUNA_PORT),
    pictures: Path | None = None,
) -> tuple[str, str]:
    """Return the shell commands that open the MLflow UI and optuna-dashboard.

    Args:
        record_url: the Optuna storage, as an SQLAlchemy URL.
        tracking_uri: the tracking URI of MLflow. If it is a server (http, https), its address is
            returned in place of the first command, because there is nothing to start.
        artifacts: the folder of MLflow's artifacts.
        host: the host to bind to.
        ports: the ports of MLflow and of optuna-dashboard.
        pictures: the folder of the artifacts of optuna-dashboard.
    """
    mlflow = (
        tracking_uri
        if _is_server(tracking_uri)
        else shlex.join(_mlflow_command(tracking_uri, artifacts, host, ports[0]))
    )
    return mlflow, shlex.join(_optuna_command(record_url, host, ports[1], pictures))


def open_dashboards(
    record_url: str,
    tracking_uri: str,
    artifacts: Path,
    host: str = "127.0.0.1",
    ports: tuple[int, int] = (MLFLOW_PORT, OPTUNA_PORT),
    pictures: Path | None = None,
    view: str = "",
) -> None:
    """Start both servers, print their addresses, wait for Ctrl-C or SIGTERM, and stop them.

    If a port is taken, a free one is used. This must be called from the main thread.

    Args:
        record_url: the Optuna storage, as an SQLAlchemy URL.
        tracking_uri: the tracking URI of MLflow. If it is a server (http, https), only its address
            is printed.
        artifacts: the folder of MLflow's artifacts.
        host: the host to bind to.
        ports: the ports of MLflow and of optuna-dashboard.
        pictures: the folder of the artifacts of optuna-dashboard.
        view: the end of the address at which MLflow shows the searches, or "".

    Raises:
        ValueError: a server stopped or did not answer; the message contains its last lines.
    """
    mlflow_port = _free_port(host, ports[0])
    optuna_port = _free_port(host, ports[1], besides=mlflow_port)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stack.enter_context(_interrupted_by_sigterm())
        command = _optuna_command(record_url, host, optuna_port, pictures)
        servers = {f"http://{host}:{optuna_port}": _running_server("optuna-dashboard", command)}
        if not _is_server(tracking_uri):
            command = _mlflow_command(tracking_uri, artifacts, host, mlflow_port)
            tracking_uri = f"http://{host}:{mlflow_port}"
            servers[tracking_uri] = _running_server("MLflow", command)
        started = {address: stack.enter_context(s) for address, s in servers.items()}
        for address, server in started.items():
            _wait_until_answering(server, address, started.values())
        address = f"{tracking_uri.rstrip('/')}/{view}" if view else tracking_uri
        print(f"MLflow            {address}")
        print(f"optuna-dashboard  http://{host}:{optuna_port}/dashboard")
        print("Ctrl-C stops the servers that were started here.", flush=True)
        while True:
            _check_alive(started.values())
            time.sleep(0.5)


@dataclass(frozen=True)
class _Server:
    name: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def last_lines(self, count: int = 5) -> str:
        """Return the last lines of its log."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-count:]) or "(its log is empty)"


@contextlib.contextmanager
def _running_server(name: str, command: Sequence[str]) -> Iterator[_Server]:
    """Run a server in a session of its own, so that all its processes can be ended with it."""
    # A viewer on one machine needs neither MLflow's job workers nor its usage reports.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            yield _Server(name, process, log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM interrupt the block like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_until_answering(server: _Server, address: str, servers: Iterable[_Server]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _check_alive(servers)
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise ValueError(
        f"{server.name} did not answer at {address} in {START_SECONDS} s:\n{server.last_lines()}"
    )


def _check_alive(servers: Iterable[_Server]) -> None:
    for server in servers:
        code = server.process.poll()
        if code is not None:
            raise ValueError(f"{server.name} stopped (exit code {code}):\n{server.last_lines()}")


def _mlflow_command(tracking_uri: str, artifacts: Path, host: str, port: int) -> list[str]:
    options = {
        "--backend-store-uri": tracking_uri,
        "--artifacts-destination": str(artifacts),
        "--host": host,
        "--port": str(port),
        "--workers": "1",
    }
    return [
        _command_path("mlflow"),
        "server",
        *(word for option in options.items() for word in option),
    ]


def _optuna_command(record_url: str, host: str, port: int, pictures: Path | None) -> list[str]:
    # wsgiref uses threads of one process; the forks of gunicorn would share a database connection.
    options = ["--host", host, "--port", str(port), "--server", "wsgiref"]
    if pictures is not None:
        options += ["--artifact-dir", str(pictures)]
    return [_command_path("optuna-dashboard"), record_url, *options]


def _command_path(name: str) -> str:
    """Return the command of that name in this Python's environment, or else on the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _is_server(tracking_uri: str) -> bool:
    return tracking_uri.startswith(("http://", "https://"))


def _free_port(host: str, wanted: int, besides: int | None = None) -> int:
    """Return the wanted port, or a free one if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Like the servers, treat a port as free if its last connections are just closing.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            found: int = probe.getsockname()[1]
            if found != besides:
                return found
    raise ValueError(f"{host}: no free port")
