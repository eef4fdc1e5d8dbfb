"""Watches the searches of a lab: reads only what was added to the record since the last look.

The record is only read: an SQLite file is opened for reading, and no table is changed. The queries
go to the tables of Optuna's storage directly, as those of `trials.results.listing` do.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Engine

from search.progress import Value
from search.user_code import in_one_line
from trials.lab import Lab
from trials.record.databases import one_line, reading_engine, sqlite_file
from trials.record.kinds import TEST
from trials.results.announced import announcements
from trials.results.listing import (
    TRIAL_ATTRIBUTES,
    StudySummary,
    by_search,
    latest_first,
    listed,
    listed_alternation,
    read_attributes,
    summary_of,
)
from trials.results.new_trials import TRIALS, Damage, error_names, new_rows
from trials.results.seen import (
    Followed,
    SearchSeen,
    alternation_seen,
    controls_in,
    seen,
    with_prepared,
)
from trials.results.tally import Tally

FRESH_SECONDS = 1.0
"""For how long a look is taken for the next one, where several pages ask."""
MOST_SAID = 3
"""Damaged trials of a study that are named."""
READ_SECONDS = 1.0
"""For how long new trials are read in one look; a large record takes several."""
BREATH_SECONDS = 0.05
NONE = (0, -1)
"""Of a study without trials: their number, and the id of the last."""


@dataclass(frozen=True)
class Look:
    """What the record of a lab shows.

    Attributes:
        searches: those that are being prepared, and all that can be read, the one with the latest
            evaluation first.
        problems: a line for each study that is damaged, and for a record that cannot be read.
        at: when the record was read last; None before the first time.
    """

    searches: tuple[SearchSeen, ...]
    problems: tuple[str, ...]
    at: datetime | None


class Watch:
    """The searches of a lab, looked at again and again by one or more threads.

    Args:
        lab: its record need not exist yet.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab, self._lock = lab, threading.Lock()
        self._engine: Engine | None = None
        self._texts: dict[int, tuple[str, dict[str, str]]] = {}
        self._summaries: dict[int, StudySummary] = {}
        self._tallies: dict[int, Tally] = {}
        self._errors: dict[int, tuple[int, float | None]] = {}
        self._controls: dict[int, tuple[int, Mapping[str, Value]]] = {}
        self._last = Look((), (), None)
        self._looked = float("-inf")
        self._later = 0

    def look(self, fresh_for: float = FRESH_SECONDS) -> Look:
        """What there is to see now; where the record cannot be read, what was seen last.

        Args:
            fresh_for: how many seconds old it may be.
        """
        with self._lock:
            if time.monotonic() - self._looked > fresh_for:
                try:
                    searches, problems = self._read()
                    shown = with_prepared(searches, announcements(self._lab))
                    self._last = Look(shown, tuple(problems), datetime.now())
                except ValueError as error:
                    self._last = Look(self._last.searches, (str(error),), self._last.at)
                self._looked = time.monotonic()
            return self._last

    def catch_up(self) -> None:
        """Read all of a large record, which takes several looks; others may look in between."""
        self.look()
        while self._later:
            time.sleep(BREATH_SECONDS)
            self.look(fresh_for=0)

    def _read(self) -> tuple[list[SearchSeen], list[str]]:
        """The searches of the record, and a line for each study that is damaged."""
        url, file = self._lab.record_url, sqlite_file(self._lab.record_url)
        self._later = 0
        if file is not None and not file.exists():
            self._forget(())
            return [], []
        with one_line("record", url):
            if self._engine is None:
                self._engine = reading_engine(url)
            with self._engine.connect() as connection:
                if not sqlalchemy.inspect(connection).has_table("studies"):
                    return [], []
                problems = self._follow(connection)
                followed = self._followed(connection, problems)
        return self._seen(followed, problems), problems

    def _follow(self, connection: Connection) -> list[str]:
        """Read what studies say of themselves; a line for each damaged one."""
        texts, problems = read_attributes(connection), []
        self._forget(texts)
        for number, told in texts.items():
            if self._texts.get(number) == told:
                continue
            before = self._summaries.pop(number, None)
            try:
                now = summary_of(*told)
            except ValueError as error:  # said again at every look
                problems.append(str(error))
                self._texts.pop(number, None)
                continue
            self._texts[number] = told
            if before is None or now is None or not _same_trials(before, now):
                for known in (self._tallies, self._errors, self._controls):
                    known.pop(number, None)
            if now is not None:
                self._summaries[number] = now
        return problems

    def _forget(self, but: Collection[int]) -> None:
        """Forget studies that are gone."""
        for known in self._known():
            for number in [*known]:
                if number not in but:
                    del known[number]

    def _known(self) -> tuple[dict[int, Any], ...]:
        return self._texts, self._summaries, self._tallies, self._errors, self._controls

    def _followed(self, connection: Connection, problems: list[str]) -> list[Followed]:
        """Add to the tallies what the record has more than they, the latest searches first.

        What takes longer than READ_SECONDS is left to the next look.
        """
        counts = select(TRIALS.c.study_id, func.count(), func.max(TRIALS.c.trial_id))
        there: dict[int, tuple[int, int]] = {
            number: (count, last)
            for number, count, last in connection.execute(counts.group_by(TRIALS.c.study_id))
        }
        searches: dict[str, list[int]] = defaultdict(list)
        for number, summary in self._summaries.items():
            searches[summary.settings["search_name"]].append(number)
        latest = sorted(searches.values(), key=lambda of: -max(there.get(n, NONE)[1] for n in of))
        deadline, found, later, read = time.monotonic() + READ_SECONDS, list[Followed](), 0, 0
        for numbers in latest:
            if not all(self._is_read(n, there.get(n, NONE)) for n in numbers):
                if read and time.monotonic() > deadline:
                    later += 1
                    continue
                read += 1
            found += [self._one(connection, n, there.get(n, NONE)) for n in numbers]
        self._later = later
        if later:
            done = len(latest) - later
            problems.append(f"reading the record: {done} of {len(latest)} searches so far")
        return found

    def _is_read(self, number: int, there: tuple[int, int]) -> bool:
        """Whether the tally of a study has all its trials (see `_one`)."""
        tally = self._tallies.get(number)
        return tally is not None and (tally.trials, tally.last_id) == there

    def _one(self, connection: Connection, number: int, there: tuple[int, int]) -> Followed:
        """A study, after its new trials were added to its tally.

        Args:
            connection: to the record.
            number: of the study in the storage.
            there: how many trials it has, and the id of the last of them.
        """
        summary, tally = self._summaries[number], self._tallies.get(number)
        if tally is None or there[0] < tally.trials:
            tally = self._tallies[number] = Tally(summary.retried.superseded)
        if not self._is_read(number, there):
            for row in new_rows(connection, number, summary, tally.last_id, there[1]):
                try:
                    tally.add(row.trial())
                except Damage as fault:
                    tally.leave_out(row.trial_id, f"trial {row.number}: {in_one_line(fault)}")
        error = self._error_of(connection, number, summary, tally)
        controls = self._controls_of(number, summary, tally)
        return Followed(self._texts[number][0], number, summary, tally, error, controls)

    def _error_of(
        self, connection: Connection, number: int, summary: StudySummary, tally: Tally
    ) -> float | None:
        """The standard error of a study's lowest value."""
        if tally.lowest_id is None:
            return None
        known = self._errors.get(number)
        if known is None or known[0] != tally.lowest_id:
            asked = TRIAL_ATTRIBUTES.c.key.in_(error_names(summary))
            query = select(TRIAL_ATTRIBUTES.c.value_json).where(
                TRIAL_ATTRIBUTES.c.trial_id == tally.lowest_id, asked
            )
            text = connection.scalar(query)
            known = self._errors[number] = (tally.lowest_id, _number(text))
        return known[1]

    def _controls_of(self, number: int, summary: StudySummary, tally: Tally) -> Mapping[str, Value]:
        """What a study measured of the start and the controls, by name; found out once."""
        known = self._controls.get(number)
        if known is None or known[0] != len(tally.first):
            try:
                found = controls_in(summary.settings, tally.first)
            except Damage as fault:
                tally.damaged.append(f"its first strategies: {in_one_line(fault)}")
                found = {}
            known = self._controls[number] = (len(tally.first), found)
        return known[1]

    def _seen(self, followed: list[Followed], problems: list[str]) -> list[SearchSeen]:
        by_summary = {id(study.summary): study for study in followed}
        for study in followed:
            tally, summary = study.tally, study.summary
            summary.complete, summary.failed = tally.complete, tally.failed
            summary.lowest, summary.last = tally.lowest, tally.last
            tested = {role: [*values.values()] for role, values in tally.tested.items()}
            summary.tested = tested if summary.settings["kind"] == TEST else None
            problems += [f"study {study.name}, {line}" for line in tally.damaged[:MOST_SAID]]
        named, alternations = by_search(study.summary for study in followed)
        found = []
        for name, summaries in named.items():
            try:
                entry = listed(name, summaries)
                found.append(seen(entry, [by_summary[id(s)] for s in summaries]))
            except Damage as fault:
                problems.append(f"search {name} is damaged and left out: {in_one_line(fault)}")
        for name, summary in alternations.items():
            try:
                halves = [half for half in found if half.alternation == name]
                entry = listed_alternation(self._lab, name, summary, halves)
                found.append(alternation_seen(entry, summary.driver, halves))
            except Damage as fault:
                problems.append(f"alternation {name} is damaged and left out: {in_one_line(fault)}")
        return latest_first(found)


def _same_trials(before: StudySummary, now: StudySummary) -> bool:
    """Whether a study still is the one that it was, with the same trials counting."""
    own = (before.study_id, before.settings, before.retried)
    return own == (now.study_id, now.settings, now.retried)


def _number(text: str | None) -> float | None:
    found: Mapping[str, Any] | float | None = None if text is None else json.loads(text)
    return float(found) if isinstance(found, int | float) else None
