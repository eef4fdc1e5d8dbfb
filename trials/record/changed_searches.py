"""Deletes and renames the studies of a search, in one transaction each.

The statements go to the tables of Optuna's storage directly: Optuna deletes one study at a time,
loading all its trials, and cannot rename one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy.engine import Connection

from trials.record.hold import refuse_running
from trials.record.kinds import ALTERNATION
from trials.record.renaming import RENAMING
from trials.record.searches import is_finished, search_records, unknown_search
from trials.record.storage import open_storage, outlast, readable
from trials.record.studies import StudyOf, settings_of_studies, studies_of

STUDIES = models.StudyModel.__table__
TRIALS = models.TrialModel.__table__
ATTRIBUTES = models.StudyUserAttributeModel.__table__


@dataclass(frozen=True)
class SearchStudies:
    """The studies of a search or, with those of its halves, of an alternation.

    Attributes:
        name: of the search or the alternation.
        studies: what each study is, by its name; never empty. The first is the one that a driver
            reserves.
    """

    name: str
    studies: Mapping[str, StudyOf]

    @property
    def searches(self) -> list[str]:
        """The names that have a folder of results: of the search, or of an alternation and its
        halves."""
        return list(dict.fromkeys(study.search for study in self.studies.values()))

    @property
    def first(self) -> str:
        """The name of the study that a driver reserves."""
        return next(iter(self.studies))

    def renamed(self, new: str) -> SearchStudies:
        """The same studies as they are called when the search is called `new`."""
        old = len(self.name)
        found = {
            new + study[old:]: replace(
                of,
                search=new + of.search[old:],
                alternation=None if of.alternation is None else new,
            )
            for study, of in self.studies.items()
        }
        return SearchStudies(new, found)


def studies_to_change(url: str, name: str) -> SearchStudies:
    """The studies of a search that may be deleted or renamed as a whole.

    Raises:
        ValueError: there is no such search (the known ones are listed), it is half a round of an
            alternation, it runs, or an unfinished search learns from it.
    """
    every = studies_of(url)
    own = {study: of for study, of in every.items() if of.search == name}
    if not own:
        raise unknown_search(url, name, sorted({of.search for of in every.values()}))
    above = next((of.alternation for of in own.values() if of.alternation), None)
    if above is not None:
        raise ValueError(
            f"search {name} is half a round of the alternation {above}, and is deleted or renamed "
            "with it"
        )
    if any(of.kind == ALTERNATION for of in own.values()):
        own |= {study: of for study, of in every.items() if of.alternation == name}
    refuse_running(url, name, own)
    _refuse_needed(url, own)
    return SearchStudies(name, own)


def require_unchanged(url: str, studies: SearchStudies) -> None:
    """Check that a search is as it was when its studies were listed; its first study is reserved.

    Raises:
        ValueError: it has other studies now, or another process runs one of them.
    """
    every = studies_of(url)
    searches = {studies.name, *studies.searches}
    now = {s for s, of in every.items() if searches & {of.search, of.alternation}}
    if now != {*studies.studies}:
        raise ValueError(
            f"search {studies.name} has changed meanwhile: expected {len(studies.studies)} "
            f"studies, got {len(now)}; call the command again"
        )
    refuse_running(url, studies.name, [s for s in studies.studies if s != studies.first])


def _refuse_needed(url: str, own: Mapping[str, StudyOf]) -> None:
    """Refuse to change searches from which another one still learns.

    Args:
        url: of the record.
        own: the studies of the searches, which may learn from each other.
    """
    names = {of.search for of in own.values()}
    for study, settings in settings_of_studies(url).items():
        if study in own:
            continue
        later = settings.get("search_name")
        asked = settings.get("search")
        learnt = asked.get("learn_from") or [] if isinstance(asked, Mapping) else []
        needed = sorted(names.intersection(learnt))
        if later and needed and not is_finished(search_records(url, later)):
            raise ValueError(
                f"search {later}, which is not finished, learns from search {needed[0]}: finish or "
                f"delete {later} first"
            )


def delete_studies(url: str, studies: SearchStudies) -> None:
    """Delete studies with all their trials, in one transaction.

    Raises:
        ValueError: the storage cannot be written.
    """

    def delete() -> None:
        with _transaction(storage) as connection:
            ids = _ids(connection, studies)
            trials = sqlalchemy.select(TRIALS.c.trial_id).where(TRIALS.c.study_id.in_(ids))
            for table in reversed(models.BaseModel.metadata.sorted_tables):  # the referring first
                if "trial_id" in table.c and table is not TRIALS:
                    connection.execute(table.delete().where(table.c.trial_id.in_(trials)))
                elif "study_id" in table.c:
                    connection.execute(table.delete().where(table.c.study_id.in_(ids)))

    with readable(url):
        storage = open_storage(url)
        outlast(storage, delete, lambda: False)


def rename_studies(url: str, studies: SearchStudies, new: str) -> None:
    """Rename studies, in one transaction, and note in them what they were called.

    Args:
        url: of the record.
        studies: those of a search.
        new: the new name of the search.

    Raises:
        ValueError: the storage cannot be written, or a study has the new name already.
    """
    renamed = studies.renamed(new)

    def rename() -> None:
        with _transaction(storage) as connection:
            ids = _ids(connection, studies)
            for number, now, of in zip(ids, renamed.studies, renamed.studies.values(), strict=True):
                where = STUDIES.c.study_id == number
                connection.execute(STUDIES.update().where(where).values(study_name=now))
                told = _attributes(connection, number)
                changed = _renamed_attributes(told, of) | {RENAMING: studies.name}
                for key, value in changed.items():
                    _write(connection, number, key, value, key in told)

    with readable(url):
        storage = open_storage(url)
        outlast(storage, rename, lambda: studies.first not in studies_of(url))


def end_renaming(url: str, studies: SearchStudies) -> None:
    """Note that nothing is left to rename.

    Raises:
        ValueError: the storage cannot be written.
    """

    def end() -> None:
        with _transaction(storage) as connection:
            of = ATTRIBUTES.c.study_id.in_(_ids(connection, studies))
            connection.execute(ATTRIBUTES.delete().where(of, ATTRIBUTES.c.key == RENAMING))

    with readable(url):
        storage = open_storage(url)
        outlast(storage, end, lambda: False)


def _renamed_attributes(told: Mapping[str, Any], of: StudyOf) -> dict[str, Any]:
    """The attributes of a study that hold the name of its search or of its alternation.

    Args:
        told: all its attributes.
        of: what the study is from now on.
    """
    settings = {**told["settings"], "search_name": of.search}
    if of.alternation is not None:
        settings["search"] = {**settings["search"], "alternation": of.alternation}
    if (settings.get("search") or {}).get("series"):  # its members are found by their names
        kept = {key: value for key, value in settings["search"].items() if key != "series"}
        settings["search"] = kept
    changed: dict[str, Any] = {"settings": settings}
    for key in ("search", "alternation"):
        if key in told:  # records of earlier versions have it in their settings alone
            changed[key] = getattr(of, key)
    return changed


def _ids(connection: Connection, studies: SearchStudies) -> list[int]:
    """The numbers of studies in the storage, in their order; of those that exist."""
    named = sqlalchemy.select(STUDIES.c.study_name, STUDIES.c.study_id)
    rows = connection.execute(named.where(STUDIES.c.study_name.in_(studies.studies)))
    found = {row.study_name: int(row.study_id) for row in rows}
    return [found[name] for name in studies.studies if name in found]


def _attributes(connection: Connection, number: int) -> dict[str, Any]:
    rows = sqlalchemy.select(ATTRIBUTES.c.key, ATTRIBUTES.c.value_json)
    found = connection.execute(rows.where(ATTRIBUTES.c.study_id == number))
    return {key: json.loads(value) for key, value in found}


def _write(connection: Connection, number: int, key: str, value: Any, exists: bool) -> None:
    row = {"study_id": number, "key": key, "value_json": json.dumps(value)}
    if exists:
        where = (ATTRIBUTES.c.study_id == number) & (ATTRIBUTES.c.key == key)
        connection.execute(ATTRIBUTES.update().where(where).values(row))
    else:
        connection.execute(ATTRIBUTES.insert().values(row))


@contextmanager
def _transaction(storage: RDBStorage) -> Iterator[Connection]:
    with storage.engine.begin() as connection:
        yield connection
