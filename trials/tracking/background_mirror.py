"""Mirrors a running search in a thread of its own, so that the search never waits for MLflow."""

from __future__ import annotations

import _imp
import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

from trials.record.record import Record
from trials.tracking.mirror import Ending, Mirror

RETRY_SECONDS = 5.0
FAR_BEHIND, PAUSE = 100, 0.02
"""A search that is more than FAR_BEHIND evaluations ahead of the store pauses PAUSE seconds after
each. That happens only where evaluations are faster than MLflow can write them."""

LONGEST_CLOSING = 120.0
"""Seconds after which a store that neither answers nor fails is left to `autonat sync`."""


class BackgroundMirror:
    """Follows the records of a running search with a mirror in a thread of its own.

    Args:
        mirror: used only by the thread until the end.
        warn: called with a line when the store stops answering, and when it answers again.
        finished: returns whether the search is finished; called at the end.
    """

    def __init__(
        self, mirror: Mirror, warn: Callable[[str], None], finished: Callable[[], bool]
    ) -> None:
        self._mirror, self._warn, self._finished = mirror, warn, finished
        self._records: dict[str, Record] = {}
        self._started: set[str] = set()
        self._answers = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def changed(self, record: Record) -> None:
        """Note that a record has changed. If the store is far behind, this pauses the search."""
        self._records[record.study_id] = record
        self._changed.set()
        if self._answers and self._mirror.behind(record) > FAR_BEHIND:
            time.sleep(PAUSE)

    def __enter__(self) -> BackgroundMirror:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = kind is not None and kind is not KeyboardInterrupt
        self.close("FAILED" if failed else "FINISHED" if self._finished() else "KILLED")

    def close(self, how: Ending) -> None:
        """End the thread after its current write, and mark the runs as ended if the store answers.

        What is then missing is added by `Mirror.sync`.
        """
        self._closing.set()
        self._changed.set()
        _give_back_import_lock()
        self._thread.join(LONGEST_CLOSING)
        if self._thread.is_alive():
            self._warn("tracking: MLflow does not answer; autonat sync completes it later")
            return
        with contextlib.suppress(ValueError):
            for record in self._records.values() if self._answers else ():
                self._mirror.end(record, how)

    def _follow(self) -> None:
        warned = False
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            try:
                for record in list(self._records.values()):
                    if not self._closing.is_set():
                        self._catch_up(record)
                        self._answers = True
                if warned:
                    self._warn("tracking: MLflow answers again")
                    warned = False
            except ValueError as error:
                self._answers = False
                if not warned:
                    self._warn(
                        f"{error}; the search continues, and autonat sync completes MLflow later"
                    )
                    warned = True
                self._changed.set()
                self._closing.wait(RETRY_SECONDS)

    def _catch_up(self, record: Record) -> None:
        if record.study_id not in self._started:
            self._mirror.begin(record)
            self._started.add(record.study_id)
        self._mirror.sync(record, self._closing.is_set)


def _give_back_import_lock() -> None:
    """Give back Python's import lock if this thread holds it.

    An interrupt that meets the first instructions of an import leaves the lock held for ever, and
    the mirror's thread, which imports MLflow, would wait for it. Nothing holds it rightfully here,
    because it is held only while an import looks up its module.
    """
    while _imp.lock_held():
        try:
            _imp.release_lock()
        except RuntimeError:  # another thread holds it, for a moment
            return
