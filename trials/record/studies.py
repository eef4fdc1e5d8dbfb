"""The studies of an Optuna storage, and what each of them is.

The user attributes `kind`, `search`, `method` and `alternation` of a study say what it is, and
other programs can look for a study by them. The name of a study is for people: nothing is parsed
from it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy

from search.measurement import metric_label, with_metric
from trials.record.databases import sqlite_file, without_password
from trials.record.kinds import TEST, is_our_format
from trials.record.storage import open_storage, readable


@dataclass(frozen=True)
class StudyOf:
    """What a study is.

    Attributes:
        kind: SEARCH, TEST or ALTERNATION, or a kind that another program defines.
        search: the name of its search, or of the alternation whose settings it holds.
        method: the optimiser, for a study of the kind SEARCH; else None.
        alternation: the name of the alternation, where the search is half a round of one; else
            None.
    """

    kind: str
    search: str
    method: str | None
    alternation: str | None

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> StudyOf | None:
        """Read what a study is from its settings; None where they do not say it."""
        if not {"kind", "search_name"} <= settings.keys():
            return None
        asked = settings.get("search")
        alternation = asked.get("alternation") if isinstance(asked, Mapping) else None
        return cls(
            settings["kind"], settings["search_name"], settings.get("optimiser"), alternation
        )

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> StudyOf | None:
        """Read what a study is from its user attributes, or from its settings in old records.

        Returns:
            None where the study is not autonat's, was not completely created, or belongs to no
            search.
        """
        if not is_our_format(attributes.get("format")):
            return None
        if not {"kind", "search"} <= attributes.keys():
            return cls.of_settings(attributes.get("settings", {}))
        return cls(*(attributes.get(name) for name in ATTRIBUTES))  # type: ignore[arg-type]


ATTRIBUTES = ("kind", "search", "method", "alternation")
"""The user attributes of a study that hold the fields of `StudyOf`; a None is not written."""


def name_values(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Let Optuna's pages call the values of a study what they are: "FID", or "FID, final test"."""
    metric = metric_label(with_metric(settings.get("protocol") or {})["metric"])
    tests = settings.get("kind") == TEST
    with warnings.catch_warnings():  # Optuna says that the name is an experiment
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([f"{metric}, final test" if tests else metric])


def studies_of(url: str) -> dict[str, StudyOf]:
    """The studies of all searches, by name, in the order of their creation. No file is created.

    Raises:
        ValueError: the storage cannot be read.
    """
    found = {s.study_name: StudyOf.of_attributes(s.user_attrs) for s in all_studies(url)}
    return {name: study for name, study in found.items() if study is not None}


def all_studies(url: str) -> list[FrozenStudy]:
    """The studies of a storage, of any program. No file is created.

    Raises:
        ValueError: the storage cannot be read.
    """
    with readable(url):
        return [] if missing(url) else open_storage(url).get_all_studies()


def settings_of_studies(url: str) -> dict[str, Mapping[str, Any]]:
    """The settings of all studies of autonat, by name. No file is created.

    Raises:
        ValueError: the storage cannot be read.
    """
    ours = (s for s in all_studies(url) if is_our_format(s.user_attrs.get("format")))
    return {s.study_name: s.user_attrs.get("settings", {}) for s in ours}


def study_ids(url: str) -> dict[str, str]:
    """The ids by which MLflow knows the studies of autonat, by name. No file is created.

    Raises:
        ValueError: the storage cannot be read.
    """
    ours = (s for s in all_studies(url) if is_our_format(s.user_attrs.get("format")))
    return {s.study_name: s.user_attrs["study_id"] for s in ours if "study_id" in s.user_attrs}


def study_names(url: str) -> list[str]:
    """The names of all completely created studies in a storage. No file is created.

    Raises:
        ValueError: the storage cannot be read.
    """
    with readable(url):
        return [] if missing(url) else all_names(open_storage(url))


def taken(url: str, names: Collection[str]) -> dict[str, bool]:
    """Which of these studies exist; one that was not completely created does not count.

    No file is created.

    Returns:
        By name, whether the study is autonat's: other programs use Optuna storages too.

    Raises:
        ValueError: the storage cannot be read.
    """
    if missing(url):
        return {}
    with readable(url):
        storage = open_storage(url)
        found = {s.study_name: s._study_id for s in storage.get_all_studies()}
        states = {name: made_by_us(storage, found[name]) for name in names if name in found}
    return {name: ours for name, ours in states.items() if ours is not None}


def not_ours(url: str, name: str) -> ValueError:
    """The error of a study that another program created."""
    return ValueError(
        f"study {name} in {without_password(url)} was not created by autonat, which leaves it "
        "alone: give another --name"
    )


def all_names(storage: RDBStorage) -> list[str]:
    """The names of the completely created studies, sorted."""
    studies = storage.get_all_studies()
    return sorted(study.study_name for study in studies if "format" in study.user_attrs)


def missing(url: str) -> bool:
    """Whether the URL names an SQLite file that does not exist, and that opening would create."""
    file = sqlite_file(url)
    return file is not None and not file.exists()


def made_by_us(storage: RDBStorage, study_id: int) -> bool | None:
    """Whether a study is autonat's; None where autonat was killed while it created the study."""
    attributes = storage.get_study_user_attrs(study_id)
    if "format" in attributes:
        return is_our_format(attributes["format"])
    minimised = storage.get_study_directions(study_id) == [StudyDirection.MINIMIZE]
    empty = minimised and not storage.get_n_trials(study_id)
    return None if empty and set(attributes) <= {"study_id", "settings", *ATTRIBUTES} else False
