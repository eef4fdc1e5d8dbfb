"""Notes for optuna-dashboard that say, while a search runs, how far its studies are."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from search.measurement import metric_label
from trials.record.kinds import SEARCH
from trials.record.notes import write_note
from trials.record.record import Record

EVERY = 20.0
"""Seconds between two notes of a study, and before the first."""
SHARE = 0.01
"""The most of a search's time that its notes may take."""


class RunningNotes:
    """Writes the note of a study now and then, while it runs, in a thread of its own.

    The search does not wait for it before its end, and a failure costs only the note.

    Args:
        url: of the record.
        artifacts: the folder that optuna-dashboard is given as --artifact-dir.
        clock: returns seconds.
    """

    def __init__(
        self, url: str, artifacts: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._artifacts, self._clock = url, artifacts, clock
        self._started, self._spent = clock(), 0.0
        self._written: dict[str, float] = {}
        self._writing: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for a note that is being written, so that it does not replace a later one."""
        if self._writing is not None:
            self._writing.join()

    def changed(self, record: Record) -> None:
        """Write the note of a study, if that is due and has not taken too much time so far."""
        now = self._clock()
        early = now - self._written.get(record.study_id, self._started) < EVERY
        costly = self._spent > SHARE * (now - self._started)
        busy = self._writing is not None and self._writing.is_alive()
        if early or costly or busy or record.settings["kind"] != SEARCH:
            return
        self._written[record.study_id] = now
        note = record.name, _note_of(record)
        self._writing = threading.Thread(target=self._write, args=note, daemon=True)
        self._writing.start()

    def _write(self, study: str, text: str) -> None:
        began = self._clock()
        with contextlib.suppress(Exception):  # of a storage, which the search asks again anyway
            write_note(self._url, study, text, [], self._artifacts)
        self._spent += self._clock() - began


def _note_of(record: Record) -> str:
    """How far a study is: its best value so far with its error, its evaluations and images."""
    done = record.evaluations
    images = sum(e.images for e in done)
    line = f"**This search is running**, or was interrupted: {len(done):,} evaluations"
    if failed := len(record.failed):
        line += f", of which {failed:,} failed,"
    line += f" with {images:,} images by {done[-1].finished:%Y-%m-%d %H:%M}." if done else "."
    best = record.best()
    if best is None:
        return line
    errors = (
        e.measurement.standard_error
        for e in done
        if e.measurement is not None and e.measurement.value == best.value
    )
    error = next(errors, None)
    told = f"{best.value:.4g}" + ("" if error is None else f" ± {error:.2g}")
    return (
        f"{line} Best {metric_label(record.metric)} so far: {told}, which was chosen for being "
        "low; the final test follows at the end."
    )
