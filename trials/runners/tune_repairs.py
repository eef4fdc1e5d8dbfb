"""What Ray's Tune (2.60) gets wrong, put right while a search runs.

Tune has no public place for either. test_faults.py and test_ray_session.py need them.
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
"""What Ray says of a worker that it ended for that."""


@contextlib.contextmanager
def repaired_tune(scratch: str) -> Iterator[None]:
    """Within it Tune survives workers that run out of memory, and runs over Ray's client.

    Args:
        scratch: a folder for files of Tune's own.
    """
    with _one_workers_death(), _session_folder(scratch):
        yield


@contextlib.contextmanager
def _one_workers_death() -> Iterator[None]:
    """A worker that Ray's memory monitor ends, or whose node dies, is a worker that died: Tune
    takes it for an error of its own, and gives up the whole run."""
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
    """Over Ray's client (ray://…) there is no node here whose folder Tune could use."""
    worker: Any = ray._private.worker
    if worker._global_node is not None:
        yield
        return
    worker._global_node = types.SimpleNamespace(get_session_dir_path=lambda: scratch)
    try:
        yield
    finally:
        worker._global_node = None
