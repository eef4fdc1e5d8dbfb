"""A PostgreSQL and an MLflow server on this machine, which can be stopped and started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pgserver
import psycopg
from pgserver import _commands

SECONDS = 60.0
"""The time in seconds that a server has to start."""


class PostgreSQL:
    """A database server on a Unix socket; its binaries come with the package pgserver."""

    def __init__(self, folder: Path) -> None:
        self._server = pgserver.get_server(folder)
        self._folder = folder

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of one of its databases for SQLAlchemy."""
        return str(self._server.get_uri(database)).replace("//postgres:", f"//{user}:")

    def execute(self, *statements: str) -> None:
        """Run SQL as its superuser."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def stop(self) -> None:
        """Stop it like a crash: connections are cut, and nothing is flushed."""
        words = ["-w", "-m", "immediate", "stop"]
        _commands.pg_ctl(words, pgdata=self._folder, user=self._server.system_user)

    def start(self) -> None:
        """Start it after a stop."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


class MLflowServer:
    """`mlflow server` on loopback."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self._folder, self._store = folder, store or f"sqlite:///{folder / 'server.db'}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        words = ["-m", "mlflow", "server", "--backend-store-uri", self._store]
        words += ["--artifacts-destination", str(self._folder / "artifacts"), "--workers", "1"]
        words += ["--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                stdout=log,
                stderr=log,
                # MLflow's job workers would outlive the server.
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            time.sleep(0.2)
        raise TimeoutError(f"{self.uri} does not answer after {SECONDS:.0f} s")

    def stop(self) -> None:
        """Kill it and its workers with SIGKILL."""
        import psutil  # Ray brings it along

        if self._process is None:
            return
        processes = [*psutil.Process(self._process.pid).children(recursive=True), self._process]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server in a folder that its user can read."""
    with tempfile.TemporaryDirectory(prefix="autonat-postgresql-") as folder:
        Path(folder).chmod(0o755)
        server = PostgreSQL(Path(folder) / "data")
        try:
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def mlflow_server(folder: Path, store: str | None = None) -> Iterator[MLflowServer]:
    """Run an MLflow server that answers."""
    server = MLflowServer(folder, store)
    server.start()
    try:
        yield server
    finally:
        server.stop()
