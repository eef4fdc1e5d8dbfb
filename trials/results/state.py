"""The state of one search or alternation: how far it is, what it found, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from search.controls import RIVALS
from search.final_test import FinalTest
from search.progress import SearchProgress
from trials.lab import Lab
from trials.record.driver import Driver
from trials.record.failures import Reason, reasons
from trials.record.hold import driver_of
from trials.record.kinds import SEARCH, alternation_study
from trials.record.record import Record
from trials.record.renaming import Renaming, renaming_of
from trials.record.searches import alternation_names, halves_of, search_records
from trials.record.studies import studies_of
from trials.results.announced import announcements
from trials.results.final_tests import final_tests
from trials.results.listing import Listed, searches
from trials.results.progress import search_progress


@dataclass(frozen=True)
class SearchState:
    """The state of a search or of an alternation.

    Attributes:
        listed: as `autonat list` has it.
        driver: the process that runs it, or None.
        searches: how far its searches are: one, or the halves of an alternation's rounds.
        records: of all their studies.
        reasons: why evaluations failed, by study.
        best: the method with the lowest final test, and that test; None before it is done.
        best_control: the same of the controls of at most T steps.
        published: whether its best strategy is written to a file.
        reported: whether its report is written.
        renaming: the renaming of it that was cut off; else None.
    """

    listed: Listed
    driver: Driver | None
    searches: tuple[SearchProgress, ...]
    records: tuple[Record, ...]
    reasons: Mapping[str, list[Reason]]
    best: tuple[str, FinalTest] | None
    best_control: tuple[str, FinalTest] | None
    published: bool
    reported: bool
    renaming: Renaming | None


def state_of(lab: Lab, name: str) -> SearchState:
    """Read the state of a search or an alternation from the record and the folder of results.

    Raises:
        ValueError: there is no such search (the known ones are listed), or its record is damaged.
    """
    url = lab.record_url
    listed = _listed(lab, name)
    if listed.state == "preparing" and not any(s.search == name for s in studies_of(url).values()):
        return _prepared(lab, listed)
    alternates = name in alternation_names(url)
    of_searches = [search_records(url, half) for half in halves_of(url, name)]
    of_searches = of_searches if alternates else [search_records(url, name)]
    records = tuple(record for of in of_searches for record in of)
    studies = [alternation_study(name)] if alternates else []
    driver = driver_of(url, [*studies, *(record.name for record in records)]) or _preparer(
        lab, name
    )
    since = None if driver is None else datetime.fromisoformat(driver.since)
    # A test that is reopened may be of strategies that are no longer the winners.
    counts = not alternates and not any(record.reopened for record in records)
    tests = [(n, t.final_test()) for n, t in final_tests([*records]).items()] if counts else []
    done = [(method, test) for method, test in tests if test is not None]
    searched = {r.settings["optimiser"] for r in records if r.settings["kind"] == SEARCH}
    folder = lab.results(name)
    return SearchState(
        listed=listed,
        driver=driver,
        searches=tuple(search_progress(of, since) for of in of_searches),
        records=records,
        reasons={record.name: reasons(record.evaluations) for record in records},
        best=_lowest([(method, test) for method, test in done if method in searched]),
        best_control=_lowest([(method, test) for method, test in done if method in RIVALS]),
        published=(folder / "best.json").exists(),
        reported=(folder / "report.html").exists(),
        renaming=renaming_of(url, name),
    )


def _prepared(lab: Lab, listed: Listed) -> SearchState:
    """The state of a search that has no record yet."""
    return SearchState(
        listed=listed,
        driver=_preparer(lab, listed.name),
        searches=(),
        records=(),
        reasons={},
        best=None,
        best_control=None,
        published=False,
        reported=False,
        renaming=None,
    )


def _preparer(lab: Lab, name: str) -> Driver | None:
    """The process that prepares a search, or None."""
    return announcements(lab).get(name, (None, None))[1]


def _listed(lab: Lab, name: str) -> Listed:
    """The entry of a search in the list.

    Raises:
        ValueError: there is no such search (the known ones are listed), or one of its studies is
            damaged, which the list leaves out.
    """
    damaged: dict[str, str] = {}
    found = {listed.name: listed for listed in searches(lab, damaged.__setitem__)}
    for study, of in studies_of(lab.record_url).items():
        if study in damaged and name in (of.search, of.alternation):
            raise ValueError(f"search {name}: {damaged[study]}")
    if name not in found:
        search_records(lab.record_url, name)  # it says which are known
        raise ValueError(f"search {name}: it was deleted meanwhile")
    return found[name]


def _lowest(tests: list[tuple[str, FinalTest]]) -> tuple[str, FinalTest] | None:
    return min(tests, key=lambda pair: pair[1].value, default=None)
