"""Which studies an Optuna storage holds, and what each of them is.

What a study is, its user attributes say: `kind`, `search`, `method` and `alternation`, by which
others can look for it as well. Its name is for people, and nothing is read off it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from trials.record.databases import sqlite_file, without_password
from trials.record.kinds import is_our_format
from trials.record.storage import open_storage, readable


@dataclass(frozen=True)
class StudyOf:
    """What a study is.

    Attributes:
        kind: SEARCH, TEST, ALTERNATION or what others call theirs.
        search: the name of its search; of an alternation, its own.
        method: the optimiser of a study of the kind SEARCH, else None.
        alternation: the name of the alternation that its search is a half-round of, or None.
    """

    kind: str
    search: str
    method: str | None
    alternation: str | None

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> StudyOf | None:
        """As a study's settings say it, or None where they do not."""
        if not {"kind", "search_name"} <= settings.keys():
            return None
        asked = settings.get("search")
        alternation = asked.get("alternation") if isinstance(asked, Mapping) else None
        return cls(
            settings["kind"], settings["search_name"], settings.get("optimiser"), alternation
        )

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> StudyOf | None:
        """As a study's user attributes say it; None where it is not autonat's, was not made to the
        end, or belongs to no search. Those of old records are in the settings alone."""
        if not is_our_format(attributes.get("format")):
            return None
        if not {"kind", "search"} <= attributes.keys():
            return cls.of_settings(attributes.get("settings", {}))
        return cls(*(attributes.get(name) for name in ATTRIBUTES))  # type: ignore[arg-type]


ATTRIBUTES = ("kind", "search", "method", "alternation")
"""Of a study, as `StudyOf` has them; None is left out."""


def studies_of(url: str) -> dict[str, StudyOf]:
    """The studies of all searches, by name, in the order in which they were made. Looking makes no
    file.

    Raises:
        ValueError: the storage cannot be read.
    """
    with readable(url):
        studies = [] if missing(url) else open_storage(url).get_all_studies()
    found = {s.study_name: StudyOf.of_attributes(s.user_attrs) for s in studies}
    return {name: study for name, study in found.items() if study is not None}


def study_names(url: str) -> list[str]:
    """The names of all studies in a storage that were made to the end. Looking makes no file.

    Raises:
        ValueError: the storage cannot be read.
    """
    with readable(url):
        return [] if missing(url) else all_names(open_storage(url))


def taken(url: str, names: Collection[str]) -> dict[str, bool]:
    """Which of these studies exist; one that was not made to the end does not. Looking makes no
    file.

    Returns:
        Whether it is autonat's, by name: others use Optuna storages, too.

    Raises:
        ValueError: the storage cannot be read.
    """
    if missing(url):
        return {}
    with readable(url):
        storage = open_storage(url)
        found = {s.study_name: s._study_id for s in storage.get_all_studies()}
        states = {name: state_of(storage, found[name]) for name in names if name in found}
    return {name: ours for name, ours in states.items() if ours is not None}


def not_ours(url: str, name: str) -> ValueError:
    """Says that a study of that name is somebody else's."""
    return ValueError(
        f"study {name} in {without_password(url)} was not made by autonat, which leaves it alone: "
        "give another --name"
    )


def all_names(storage: RDBStorage) -> list[str]:
    """The names of the studies that were made to the end, sorted."""
    studies = storage.get_all_studies()
    return sorted(study.study_name for study in studies if "format" in study.user_attrs)


def missing(url: str) -> bool:
    """Whether it names an SQLite file that is not there, and would be made by looking."""
    file = sqlite_file(url)
    return file is not None and not file.exists()


def state_of(storage: RDBStorage, study_id: int) -> bool | None:
    """Whether a study is one of autonat's; None where autonat began to make it and was killed."""
    attributes = storage.get_study_user_attrs(study_id)
    if "format" in attributes:
        return is_our_format(attributes["format"])
    minimised = storage.get_study_directions(study_id) == [StudyDirection.MINIMIZE]
    empty = minimised and not storage.get_n_trials(study_id)
    return None if empty and set(attributes) <= {"study_id", "settings", *ATTRIBUTES} else False
