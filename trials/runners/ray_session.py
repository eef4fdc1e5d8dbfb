"""Connects to Ray: to a running cluster, or to one that is started on this machine."""

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

import dashboards
import models
import search
import trials
from search.user_code import module_location
from trials.runners.local_ray import ensure_token, group_of_its_own, session_folder

CONNECT_SECONDS = 5.0
TOKEN = "its token here (RAY_AUTH_MODE=token, ~/.ray/auth_token)"
NONE_RUNS = "Could not find any running Ray instance"
REASON = 300
"""Characters of a reason that are kept."""
TRIES = 3
"""To connect. The server behind ray:// forks while it has threads, and sometimes hangs for 30 s."""


def _check_address(address: str | None) -> None:
    """Check that something answers at the address; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"ray address {address}: {error}") from None


@contextlib.contextmanager
def _own_signals() -> Iterator[Callable[[], object]]:
    """Restore the handlers of signals, which Ray and Tune replace.

    Yields:
        A function that restores SIGTERM; the end of the block restores SIGINT as well.
    """
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
    """Connect to Ray from an empty working directory.

    Ray puts the working directory of the driver first in every worker's path, so a user's folder
    called models would hide ours. From an empty folder, workers find what is sent with py_modules,
    then what is installed.

    Args:
        address: of a running cluster ("auto", HOST:PORT, ray://…); None starts Ray on this machine.
        workers: CPUs of a Ray that is started on this machine.
        user_modules: files or folders of the user's code to send along.

    Raises:
        ValueError: there is no cluster at the address, or the connection broke.
    """
    _check_address(address)
    packages = [str(Path(p.__path__[0])) for p in (search, models, trials, dashboards)]
    packages.append(str(module_location("autonat")))
    # The driver only waits, so the workers may use all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # A search is resumed from the record; Tune's snapshots of its own state only cost time.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Ray gives its workers the niceness 15, with which they would starve beside other work.
    os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    modules = [*packages, *map(str, user_modules)]
    before = Path.cwd()
    with contextlib.ExitStack() as stack:
        restore_sigterm = stack.enter_context(_own_signals())
        empty = stack.enter_context(tempfile.TemporaryDirectory(prefix="autonat-empty-"))
        folder = None
        if address is None:
            folder = stack.enter_context(session_folder())
            ensure_token()
        os.chdir(empty)
        try:
            with group_of_its_own():
                _connect(address, workers, modules, folder)
            restore_sigterm()
        except SystemExit:  # Ray raises it on SIGTERM while it starts
            raise KeyboardInterrupt from None
        except Exception as error:  # Ray raises bare Exceptions about a slow node
            ray.shutdown()  # the connection may be half made
            reason = _reason(error)
            if reason.startswith(NONE_RUNS):
                reason = "no Ray runs on this machine: ray start --head starts it; without an "
                reason += "address, autonat starts its own"
            elif address is not None and "mismatch" not in reason:
                reason += f"; something answers there: is it Ray, and is {TOKEN}?"
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
    """The message in one line; that of clashing versions has several, and of the traceback of a
    server the last one says what happened."""
    if "Traceback (most recent call last)" in str(error):
        return last_line(error)[:REASON]
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
    for tries_left in reversed(range(TRIES)):
        try:
            init()
            return
        except ConnectionAbortedError:
            ray.shutdown()
            if not tries_left:
                raise


def last_line(error: Exception) -> str:
    """The last line of Ray's long message, which is the error of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
