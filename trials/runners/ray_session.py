"""A connection to Ray: to a cluster, or to one that is started on this machine."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError

import autonat
import dashboards
import models
import search
import trials
from trials.runners.local_ray import see_to_token, session_folder

CONNECT_SECONDS = 5.0
TOKEN = "its token here (RAY_AUTH_MODE=token, ~/.ray/auth_token)"
REASON = 300
"""Characters of a reason."""


def _check_address(address: str | None) -> None:
    """Ray itself tries for minutes before it says that nobody answers."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"ray address {address}: {error}") from None


@contextlib.contextmanager
def _own_signals() -> Iterator[Callable[[], object]]:
    """Ray and Tune take signals for themselves, and keep them: a function gives SIGTERM back, and
    the end all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield functools.partial(signal.signal, signal.SIGTERM, before[signal.SIGTERM])
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def ray_session(
    address: str | None, workers: int, user_modules: Sequence[Path] = ()
) -> Iterator[None]:
    """A connection to Ray, started from an empty folder.

    Args:
        address: of a running cluster ("auto", HOST:PORT, ray://…); None starts Ray here.
        workers: CPUs of a Ray that is started here.
        user_modules: files or folders of the user's code to send along.

    Raises:
        ValueError: no cluster at the address, or the connection broke.

    Ray puts the driver's folder first in every worker's path, so a folder of the user's called
    models would shadow ours. From an empty one, workers see what is sent with py_modules, then
    what is installed.
    """
    _check_address(address)
    packages = [str(Path(p.__path__[0])) for p in (search, models, trials, dashboards)]
    packages.append(str(autonat.__file__))
    # The driver only waits: what it leaves free is the workers'.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # The record is what resumes a search; Tune's snapshots of its own state only cost time.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Ray gives its workers the lowest priority but four; beside other work they would starve.
    os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    modules = [*packages, *map(str, user_modules)]
    before = Path.cwd()
    with contextlib.ExitStack() as stack:
        give_back = stack.enter_context(_own_signals())
        empty = stack.enter_context(tempfile.TemporaryDirectory(prefix="autonat-empty-"))
        folder = None
        if address is None:
            folder = stack.enter_context(session_folder())
            see_to_token()
        os.chdir(empty)
        try:
            _connect(address, workers, modules, folder)
            give_back()
        except SystemExit:  # Ray's own answer to SIGTERM while it starts
            raise KeyboardInterrupt from None
        except Exception as error:  # Ray raises bare ones, of a slow node
            ray.shutdown()  # it may be half connected
            reason = _reason(error)
            if address is not None and "mismatch" not in reason:
                reason += f"; something answers there: is it a Ray, and {TOKEN}?"
            raise ValueError(f"ray address {address or 'local'}: {reason}") from None
        finally:
            os.chdir(before)
        try:
            yield
        except (ConnectionError, RayError) as error:
            raise ValueError(f"ray address {address or 'local'}: {_reason(error)}") from None
        finally:
            ray.shutdown()


def _reason(error: Exception) -> str:
    """In one line: versions that clash stand on lines of their own."""
    return " ".join(str(error).split())[:REASON] or type(error).__name__


def _connect(address: str | None, workers: int, modules: list[str], folder: str | None) -> None:
    init = functools.partial(
        ray.init,
        address=address or "local",
        num_cpus=None if address else workers,
        include_dashboard=None if address else False,
        _node_ip_address=None if address else "127.0.0.1",
        _temp_dir=folder,
        runtime_env={"py_modules": modules},
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    try:
        init()
    except ConnectionAbortedError:
        # The server behind ray:// forks beside its own threads: now and then one hangs for 30 s.
        ray.shutdown()
        init()


def last_line(error: Exception) -> str:
    """Of Ray's long account, the worker's own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
