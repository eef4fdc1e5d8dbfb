"""The mirror of a search that runs, in a thread of its own, so that no store makes it wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

from trials.record.record import Record
from trials.tracking.mirror import Ending, Mirror

RETRY_SECONDS = 5.0
FAR_BEHIND, PAUSE = 100, 0.02
"""A search that is so many evaluations ahead of a store that answers pauses so many seconds after
each: only where evaluations take less time than MLflow takes to write them."""


class BackgroundMirror:
    """A mirror with a thread of its own: it follows the records of a running search.

    Args:
        mirror: used by the thread alone until the end.
        warn: told in one line when the store stops answering, and when it answers again.
        finished: whether the search is done; asked at the end.
    """

    def __init__(
        self, mirror: Mirror, warn: Callable[[str], None], finished: Callable[[], bool]
    ) -> None:
        self._mirror, self._warn, self._finished = mirror, warn, finished
        self._records: dict[str, Record] = {}
        self._begun: set[str] = set()
        self._answers = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def changed(self, record: Record) -> None:
        """A record has something new. Far ahead of the store, this takes PAUSE seconds."""
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
        """End the thread after its current write, and say to a store that answers how the search
        ended. What is missing then is for `Mirror.sync`."""
        self._closing.set()
        self._changed.set()
        self._thread.join()
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
                        self._bring_up(record)
                        self._answers = True
                if warned:
                    self._warn("tracking: it answers again")
                    warned = False
            except ValueError as error:
                self._answers = False
                if not warned:
                    self._warn(f"{error}; the search runs on, autonat sync completes it later")
                    warned = True
                self._changed.set()
                self._closing.wait(RETRY_SECONDS)

    def _bring_up(self, record: Record) -> None:
        if record.study_id not in self._begun:
            self._mirror.begin(record)
            self._begun.add(record.study_id)
        self._mirror.sync(record, self._closing.is_set)
