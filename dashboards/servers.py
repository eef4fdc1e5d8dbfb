"""Opens the live page, the MLflow UI and optuna-dashboard on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

START_SECONDS = 120
"""The time in seconds that a server has to answer; MLflow needs ten seconds on two slow cores."""
STOP_SECONDS = 10
"""The time in seconds that a server has to stop before it is killed."""


HOST = "127.0.0.1"
"""Where all servers listen: on this machine alone."""


class Ports(NamedTuple):
    """The ports of the three servers. Where one is taken, another is used."""

    mlflow: int = 5000
    optuna: int = 8080
    live: int = 8050


PORTS = Ports()
LivePage = Callable[[str, str], "WSGIApplication"]
"""Makes the live page, given the addresses of MLflow's list of searches and of optuna-dashboard."""


def open_dashboards(
    make_optuna: Callable[[], WSGIApplication],
    tracking_uri: str,
    artifacts: Path,
    ports: Ports = PORTS,
    view: str = "",
    live: LivePage | None = None,
) -> None:
    """Start the servers, print their addresses, wait for Ctrl-C or SIGTERM, and stop them.

    If a port is taken, a free one is used, and a line says so. This must be called from the main
    thread.

    Args:
        make_optuna: makes optuna-dashboard, which takes seconds.
        tracking_uri: the tracking URI of MLflow. If it is a server (http, https), only its address
            is printed, without a password.
        artifacts: the folder of MLflow's artifacts.
        ports: the ports of the servers.
        view: the end of the address at which MLflow shows the searches, or "".
        live: makes the live page, whose address is printed first; None starts none.

    Raises:
        ValueError: a server stopped or did not answer; the message contains its last lines.
    """
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stack.enter_context(_interrupted_by_sigterm())
        free = _free_ports(ports)
        mlflow, optuna = f"http://{HOST}:{free.mlflow}", f"http://{HOST}:{free.optuna}"
        ours = not _is_server(tracking_uri)
        shown = mlflow if ours else _without_user(tracking_uri).rstrip("/")
        started: dict[str, _Served] = {}
        if live is not None:
            name, address = "live page", f"http://{HOST}:{free.live}"
            page = live(f"{shown}/{view}", f"{optuna}/dashboard")
            started[address] = stack.enter_context(_running_page(name, page, free.live))
            _say_where(name, address, ports.live, free.live)
        if ours:
            served = _running_mlflow(tracking_uri, artifacts, free.mlflow)
            started[mlflow] = stack.enter_context(served)
        name = "optuna-dashboard"
        page = make_optuna()
        started[optuna] = stack.enter_context(_running_page(name, page, free.optuna))
        for address, server in started.items():
            _wait_until_answering(server, address, started.values())
        wanted = ports.mlflow if ours else free.mlflow
        _say_where("MLflow", f"{shown}/{view}" if view else shown, wanted, free.mlflow)
        _say_where("optuna-dashboard", f"{optuna}/dashboard", ports.optuna, free.optuna)
        print("Ctrl-C stops the servers that were started here.", flush=True)
        while True:
            _check_alive(started.values())
            time.sleep(0.5)


def _say_where(name: str, address: str, wanted: int, port: int) -> None:
    moved = "" if port == wanted else f"  (port {wanted} is taken)"
    print(f"{name:17} {address}{moved}", flush=True)


class _Served(Protocol):
    """A server that was started."""

    @property
    def name(self) -> str:
        """What it is called."""

    def end(self) -> str | None:
        """Return how it ended; None while it runs."""

    def last_lines(self) -> str:
        """Return the last lines of its log."""


@dataclass(frozen=True)
class _Page:
    name: str
    thread: threading.Thread

    def end(self) -> str | None:
        return None if self.thread.is_alive() else "its thread ended"

    def last_lines(self) -> str:
        return "(it has no log)"


@contextlib.contextmanager
def _running_page(name: str, page: WSGIApplication, port: int) -> Iterator[_Page]:
    """Serve a page from a thread of this process."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for every request
    try:
        server = make_server(HOST, port, page, threaded=True)
    except (SystemExit, OSError):  # werkzeug exits where another program took the port meanwhile
        raise ValueError(f"{name}: port {port} has just been taken; start it again") from None
    thread = threading.Thread(target=server.serve_forever, name=name, daemon=True)
    thread.start()
    try:
        yield _Page(name, thread)
    finally:
        server.shutdown()
        thread.join(STOP_SECONDS)
        server.server_close()


@dataclass(frozen=True)
class _Server:
    name: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def end(self) -> str | None:
        """Return how it ended; None while it runs."""
        code = self.process.poll()
        return None if code is None else f"exit code {code}"

    def last_lines(self, count: int = 5) -> str:
        """Return the last lines of its log."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-count:]) or "(its log is empty)"


@contextlib.contextmanager
def _running_mlflow(tracking_uri: str, artifacts: Path, port: int) -> Iterator[_Server]:
    """Run MLflow in a session of its own, so that all its processes can be ended with it."""
    command = [_command_path("mlflow"), "server", "--artifacts-destination", str(artifacts)]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # A viewer on one machine needs neither MLflow's job workers nor its usage reports. Its store,
    # whose address may hold a password, is named here since all users see a command line.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
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
            yield _Server("MLflow", process, log)
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


def _wait_until_answering(server: _Served, address: str, servers: Iterable[_Served]) -> None:
    # A proxy, which the environment may name, would not reach an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _check_alive(servers)
        try:
            opener.open(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise ValueError(
        f"{server.name} did not answer at {address} in {START_SECONDS} s:\n{server.last_lines()}"
    )


def _check_alive(servers: Iterable[_Served]) -> None:
    for server in servers:
        end = server.end()
        if end is not None:
            raise ValueError(f"{server.name} stopped ({end}):\n{server.last_lines()}")


def _command_path(name: str) -> str:
    """Return the command of that name in this Python's environment, or else on the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _is_server(tracking_uri: str) -> bool:
    return tracking_uri.startswith(("http://", "https://"))


def _without_user(address: str) -> str:
    """Return an address without a user's name and password, for which the browser asks."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _free_ports(wanted: Ports) -> Ports:
    """Return the wanted ports, and free ones in place of those that are taken.

    The live page comes first, because only its port is asked for by people.
    """
    found: dict[str, int] = {}
    for name in ("live", "optuna", "mlflow"):
        found[name] = _free_port(getattr(wanted, name), found.values())
    return Ports(**found)


def _free_port(wanted: int, besides: Collection[int]) -> int:
    """Return the wanted port, or a free one if it is taken."""
    for port in (wanted, *(0 for _ in besides), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Like the servers, treat a port as free if its last connections are just closing.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found: int = probe.getsockname()[1]
            if found not in besides:
                return found
    raise ValueError(f"{HOST}: no free port")
