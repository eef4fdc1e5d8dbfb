"""Searches that are being prepared: announced in the lab, because their record is only made later.

Preparing an objective may train a model or read a million images. So that `autonat list` and
`autonat show` know of it in another terminal, and nobody prepares a search of the same name beside
it, the driver leaves a file in the lab as long as it lasts, and writes it again every few seconds.
That of a killed driver means nothing; on other machines that share the lab, where nobody can tell,
it counts for a minute.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from search.files import named_os_errors, write_text
from trials.lab import Lab
from trials.record.driver import BEAT, Driver

FOLDER = "preparing"


@dataclass(frozen=True)
class Announced:
    """A search that is being prepared; see `trials.results.listing.Listed`.

    Attributes:
        name: of the search.
        objective: the name of its objective.
        what: what is searched.
        steps: T.
        methods: the optimisers, in their order.
        budgeted: evaluations that the budget pays for.
    """

    name: str
    objective: str
    what: str
    steps: int
    methods: tuple[str, ...]
    budgeted: int


@contextlib.contextmanager
def announced(lab: Lab, search: Announced) -> Iterator[None]:
    """Announce a search while the block runs.

    Raises:
        ValueError: another process prepares a search of that name, or the file cannot be written.
    """
    file = lab.folder / FOLDER / f"{search.name}.json"
    refuse_prepared(lab, [search.name])
    driver, ended = Driver.here(), threading.Event()
    with named_os_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, search, driver)
    beating = threading.Thread(target=_beat, args=(file, search, driver, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        # The folder stays: another search may be about to write into it.
        file.unlink(missing_ok=True)


def _beat(file: Path, search: Announced, driver: Driver, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):  # a full disk ends no search
            _write(file, search, replace(driver, seen=time.time()))


def _write(file: Path, search: Announced, driver: Driver) -> None:
    write_text(file, json.dumps({"search": asdict(search), "driver": asdict(driver)}))


def refuse_prepared(lab: Lab, names: Iterable[str]) -> None:
    """Refuse to touch searches while one of them is being prepared.

    Raises:
        ValueError: a living driver prepares a search of one of these names.
    """
    living = announcements(lab)
    for name in names:
        if name in living:
            raise living[name][1].refusal(f"search {name}", "has been in preparation")


def announcements(lab: Lab) -> dict[str, tuple[Announced, Driver]]:
    """The searches that are being prepared, each with the living driver that does it, by name."""
    found: dict[str, tuple[Announced, Driver]] = {}
    for file in sorted((lab.folder / FOLDER).glob("*.json")):
        # It may be gone meanwhile, or of another version.
        with contextlib.suppress(OSError, LookupError, TypeError, ValueError):
            search, driver = _read(file)
            if driver.alive():
                found[search.name] = search, driver
    return found


def _read(file: Path) -> tuple[Announced, Driver]:
    content = json.loads(file.read_text(encoding="utf-8"))
    search = Announced(**content["search"])
    return search, Driver(**content["driver"])
