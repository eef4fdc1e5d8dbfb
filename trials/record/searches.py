"""The studies of a search: how they are found and opened, and whether they are finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.controls import CONTROLS
from search.names import did_you_mean
from trials.record.databases import without_password
from trials.record.kinds import ALTERNATION, TEST, alternation_study, final_test_study, tests_in_all
from trials.record.record import Record
from trials.record.renaming import refuse_half_renamed
from trials.record.studies import not_ours, settings_of_studies, studies_of, taken

MOST_NAMED = 20
"""Searches that an error names."""


class UnknownSearch(ValueError):
    """There is no search of that name."""


def unknown_search(url: str, name: str, known: Sequence[str]) -> UnknownSearch:
    """The error of a name that no search has: what it is, or which was meant and which there are.

    Args:
        url: of the record.
        name: that was given.
        known: the names of all searches and alternations.
    """
    if members := members_of(url, name):
        return UnknownSearch(f"{name} is a series; give one of its searches: {', '.join(members)}")
    said = f"no search {name!r} in {without_password(url)}"
    if not known:
        return UnknownSearch(f"{said}, which has no searches yet; autonat search starts one")
    named = ", ".join(known[:MOST_NAMED])
    rest = len(known) - MOST_NAMED
    more = f" and {rest} more, which autonat list prints" if rest > 0 else ""
    return UnknownSearch(f"{said}{did_you_mean(name, known)}; known: {named}{more}")


def search_names(url: str) -> list[str]:
    """The names of all searches, sorted; an alternation is not a search itself.

    Raises:
        ValueError: the storage cannot be read.
    """
    return sorted({s.search for s in studies_of(url).values() if s.kind != ALTERNATION})


def alternation_names(url: str) -> list[str]:
    """The names of all alternations, sorted.

    Raises:
        ValueError: the storage cannot be read.
    """
    return sorted(s.search for s in studies_of(url).values() if s.kind == ALTERNATION)


def halves_of(url: str, alternation: str) -> list[str]:
    """The names of an alternation's searches, in the order in which they started.

    Raises:
        ValueError: the storage cannot be read.
    """
    found = (s.search for s in studies_of(url).values() if s.alternation == alternation)
    return list(dict.fromkeys(found))


def members_of(url: str, series: str) -> list[str]:
    """The names of those searches of a series that have begun, the smallest T first.

    Raises:
        ValueError: the storage cannot be read.
    """
    found: dict[int, str] = {}
    for settings in settings_of_studies(url).values():
        search = settings.get("search")
        if isinstance(search, Mapping) and (search.get("series") or {}).get("name") == series:
            found[search["steps"]] = settings["search_name"]
    return [found[steps] for steps in sorted(found)]


def has_begun(url: str, name: str) -> bool:
    """Whether there is a search or an alternation of that name.

    Raises:
        ValueError: the storage cannot be read.
    """
    return any(study.search == name for study in studies_of(url).values())


def has_finished(url: str, name: str) -> bool:
    """Whether there is a search of that name, and it is finished."""
    return has_begun(url, name) and is_finished(search_records(url, name))


def refuse_taken(url: str, name: str, methods: Iterable[str]) -> None:
    """Refuse to start a search under a name that is in use.

    Two searches of the same name could not be told apart, and the first could not be resumed.

    Args:
        url: of the record.
        name: of the search.
        methods: its optimisers.

    Raises:
        ValueError: there is a search of that name, or a study with the name of one of its studies,
            or a renaming from or to that name was cut off.
    """
    refuse_half_renamed(url, name)
    of_methods = [f"{name}-{method}" for method in methods]
    own = taken(url, [*of_methods, final_test_study(name), alternation_study(name)])
    for study, ours in own.items():
        if not ours:
            raise not_ours(url, study)
    of_search = [study for study, of in studies_of(url).items() if of.search == name]
    if found := list(dict.fromkeys([*of_search, *own])):
        studies = "study" if len(found) == 1 else "studies"
        raise ValueError(
            f"search {name} exists already, with the {studies} {', '.join(found)}: "
            f"--resume {name} continues it, another name starts a new one"
        )


def recorded_settings(url: str, name: str) -> dict[str, Any]:
    """The settings of the search or the alternation of that name.

    Raises:
        ValueError: there is no such search (the known ones are listed), or its renaming was cut
            off.
    """
    refuse_half_renamed(url, name)
    for study, of in studies_of(url).items():
        if (of.kind, of.search) == (ALTERNATION, name):
            return dict(Record.open(url, study).settings["search"])
    return dict(with_start(search_records(url, name)[0].settings)["search"])


def recorded_objectives(url: str, first: str | None = None) -> list[dict[str, Any]]:
    """The descriptions of the objectives of all studies. No file is created.

    Args:
        url: of the record.
        first: the study whose description comes first.

    Raises:
        ValueError: the storage cannot be read.
    """
    studies = settings_of_studies(url)
    names = sorted(studies, key=lambda name: name != first)
    found = (studies[name].get("objective") for name in names)
    return [dict(described) for described in found if described is not None]


def with_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A study's settings, with the strategy that it started from in place of a strategy file.

    Records of earlier versions name the file, which may have moved with its lab. Their search space
    holds the strategy itself.
    """
    start, space = settings["search"].get("start"), settings.get("space")
    if space is None or not isinstance(start, str) or start in CONTROLS:
        return dict(settings)
    generation = space.get("generation", space)
    strategy = generation.get("start", generation)
    return {**settings, "search": {**settings["search"], "start": strategy}}


def search_records(url: str, name: str) -> list[Record]:
    """The records of a search's studies in the order of their creation, the final test last.

    Raises:
        UnknownSearch: there is no such search; the known ones are listed.
        ValueError: it is an alternation, whose searches are listed.
    """
    known = studies_of(url)
    of_search = [s for s, of in known.items() if of.search == name and of.kind != ALTERNATION]
    names = sorted({of.search for of in known.values()})
    if not of_search and name in names:
        halves = ", ".join(halves_of(url, name)) or "none yet"
        raise ValueError(f"{name} is an alternation; give one of its searches: {halves}")
    if not of_search:
        raise unknown_search(url, name, names)
    return [
        Record.open(url, study) for study in sorted(of_search, key=lambda s: known[s].kind == TEST)
    ]


def is_finished(records: list[Record]) -> bool:
    """Whether a search is finished: its final test, which starts after all its methods, is
    complete.

    Args:
        records: of one search (see `search_records`).
    """
    last = records[-1]
    if last.settings["kind"] != TEST or last.reopened:
        return False
    return len(last.evaluations) >= tests_in_all(last.settings)
