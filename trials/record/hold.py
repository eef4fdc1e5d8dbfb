"""Lets only one driver run a study: it writes its name into the record, again every few seconds.

A driver that was killed stops writing. Another one may then take its place: on the same machine at
once, on another machine after STALE seconds, once it has seen that no further sign of life comes.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from optuna.storages import RDBStorage

from trials.record.driver import ATTRIBUTE, BEAT, Driver
from trials.record.storage import STORAGE_ERRORS, open_storage, readable

SETTLE = 0.3
"""Seconds after which two drivers that start at the same time have seen each other."""

GONE = (*STORAGE_ERRORS, KeyError)
"""The storage does not answer, or the study was deleted by the block that reserved it."""


@contextlib.contextmanager
def hold(url: str, name: str) -> Iterator[None]:
    """Reserve a study for this process while the block runs.

    Args:
        url: of the record.
        name: of a study in the record.

    Raises:
        ValueError: another driver runs the study, or the storage cannot be used.
    """
    with readable(url):
        storage = open_storage(url)
        study_id = storage.get_study_id_from_name(name)
        other = _living(storage, study_id)
    if other is not None:
        raise other.refusal(f"study {name}")
    mine = Driver.here()
    with readable(url):
        _write(storage, study_id, mine)
        time.sleep(SETTLE)
        first = _driver(storage, study_id)
    if first is not None and first.token != mine.token:
        raise first.refusal(f"study {name}")
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(storage, study_id, mine, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with contextlib.suppress(*GONE):
            last = _driver(storage, study_id)
            if last is not None and last.token == mine.token:
                _write(storage, study_id, None)
        storage.remove_session()


def driver_of(url: str, names: Iterable[str]) -> Driver | None:
    """The living driver of one of these studies, as far as this machine can tell; or None.

    Raises:
        ValueError: the storage cannot be read.
    """
    with readable(url):
        storage = open_storage(url)
        for name in names:
            with contextlib.suppress(KeyError):  # no such study
                driver = _driver(storage, storage.get_study_id_from_name(name))
                if driver is not None and driver.alive():
                    return driver
    return None


def refuse_running(url: str, name: str, studies: Iterable[str]) -> None:
    """Refuse to touch a search while it runs.

    Args:
        url: of the record.
        name: of the search.
        studies: the names of its studies.

    Raises:
        ValueError: a living driver runs one of the studies.
    """
    driver = driver_of(url, studies)
    if driver is not None and not driver.ahead():  # else `hold` watches whether it lives
        raise driver.refusal(f"search {name}")


def _beat(storage: RDBStorage, study_id: int, mine: Driver, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(*GONE):  # a write of results will report the fault
            now = _driver(storage, study_id)
            if now is not None and now.token != mine.token:
                # Another driver took over after a long silence. SIGINT also ends a wait; where it
                # is ignored, as in a script's background job, SIGTERM ends this process.
                ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
                kind = signal.SIGTERM if ignored else signal.SIGINT
                signal.pthread_kill(threading.main_thread().ident or 0, kind)
                return
            _write(storage, study_id, Driver(**{**asdict(mine), "seen": time.time()}))
    storage.remove_session()


def _living(storage: RDBStorage, study_id: int) -> Driver | None:
    """The driver that runs a study, or None.

    One that looks dead is watched for another sign of life: the clocks of two machines may differ.
    """
    found = _driver(storage, study_id)
    if found is None or (found.alive() and not found.ahead()):
        return found
    until = time.monotonic() + 2 * BEAT
    while not found.gone() and time.monotonic() < until:
        time.sleep(SETTLE)
        now = _driver(storage, study_id)
        if now != found:
            return now
    return None


def _driver(storage: RDBStorage, study_id: int) -> Driver | None:
    told: dict[str, Any] | None = storage.get_study_user_attrs(study_id).get(ATTRIBUTE)
    return None if told is None else Driver(**told)


def _write(storage: RDBStorage, study_id: int, driver: Driver | None) -> None:
    storage.set_study_user_attr(study_id, ATTRIBUTE, None if driver is None else asdict(driver))
