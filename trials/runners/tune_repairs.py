"""Works around two faults of Ray Tune (2.60) while a search runs.

Tune has no public interface for either. test_faults.py and test_ray_session.py cover them.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

DEATHS = (LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError)
LOW_MEMORY = "running low on memory"
"""What Ray says about a worker that it killed because memory was low."""


@contextlib.contextmanager
def repaired_tune(scratch: str) -> Iterator[None]:
    """While the block runs, Tune survives workers that run out of memory, and works over Ray's
    client.

    Args:
        scratch: a folder for Tune's own files.
    """
    with _one_workers_death(), _session_folder(scratch):
        yield


@contextlib.contextmanager
def _one_workers_death() -> Iterator[None]:
    """Make Tune treat a worker that Ray's memory monitor killed, or whose node died, as a dead
    worker.

    Otherwise Tune takes that for an error of its own, and gives up the whole run.
    """
    manager: Any = RayActorManager
    failed = manager._actor_task_failed

    def died(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, DEATHS):
            exception = RayActorError(error_msg=str(exception))
        failed(self, tracked_actor_task, exception)

    manager._actor_task_failed = died
    try:
        yield
    finally:
        manager._actor_task_failed = failed


@contextlib.contextmanager
def _session_folder(scratch: str) -> Iterator[None]:
    """Give Tune a folder over Ray's client (ray://…), where this machine has no node with one."""
    worker: Any = ray._private.worker
    if worker._global_node is not None:
        yield
        return
    worker._global_node = types.SimpleNamespace(get_session_dir_path=lambda: scratch)
    try:
        yield
    finally:
        worker._global_node = None
