"""Deletes and renames a search with everything of it: its studies, its results, its MLflow runs.

The record decides what there is. A search is deleted from it last, and renamed in it first, with a
note that the rest is to follow. Either command, cut off and called again, finds what is left to do.
Trained models stay: they belong to the lab, and other searches may use them.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.artifacts import get_all_artifact_meta

from search.names import require_existing_search_name, require_search_name
from search.progress import Progress
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.record.changed_searches import (
    SearchStudies,
    delete_studies,
    end_renaming,
    rename_studies,
    require_unchanged,
    studies_to_change,
)
from trials.record.hold import hold
from trials.record.renaming import refuse_half_renamed, renaming_of
from trials.record.searches import has_begun, members_of, refuse_taken
from trials.record.storage import open_storage, readable
from trials.record.studies import study_ids
from trials.results.announced import refuse_prepared
from trials.tracking.changed_runs import delete_runs, rename_runs

if TYPE_CHECKING:
    from trials.publishing.attempts import Note


def delete_search(lab: Lab, studies: SearchStudies, progress: Progress) -> None:
    """Delete a search or an alternation.

    Args:
        lab: of the search.
        studies: of the search (`studies_to_change`).
        progress: shows the progress, while MLflow moves the runs to its trash.

    Raises:
        ValueError: it runs or is being prepared, MLflow does not answer, or a file or the record
            cannot be written. What is not deleted then is deleted by the next call.
    """
    url = lab.record_url
    with hold(url, studies.first):
        require_unchanged(url, studies)
        refuse_prepared(lab, studies.searches)
        ids = study_ids(url)
        theirs = [ids[study] for study in studies.studies if study in ids]
        delete_runs(lab, theirs, progress.report("deleting runs in MLflow"))
        for name in studies.searches:
            _remove(lab.results(name))
        for study in studies.studies:
            _remove_pictures(lab, study)
        delete_studies(url, studies)


def studies_to_rename(lab: Lab, old: str, new: str) -> SearchStudies:
    """The studies of a search that can be renamed.

    Returns:
        Its studies. They have the new name already where an earlier call was cut off.

    Raises:
        ValueError: the new name is not valid or in use, there is no such search, or it runs or is
            being prepared.
    """
    require_existing_search_name(old)
    require_search_name(new)
    if old == new:
        raise ValueError(f"rename: expected another name than {old}, got the same")
    url = lab.record_url
    if renaming_of(url, new) == (old, new):
        return studies_to_change(url, new)
    refuse_half_renamed(url, old)
    studies = studies_to_change(url, old)
    if members := members_of(url, new):
        raise ValueError(
            f"series {new} exists already, with the searches {', '.join(members)}; choose another "
            "name"
        )
    renamed = studies.renamed(new)
    refuse_prepared(lab, [*studies.searches, *renamed.searches])
    for search in renamed.searches:
        _refuse_taken(lab, search, renamed)
    return studies


def rename_search(
    lab: Lab,
    studies: SearchStudies,
    old: str,
    new: str,
    progress: Progress,
    note: Note,
) -> None:
    """Rename a search or an alternation, with the searches of its rounds.

    Args:
        lab: of the search.
        studies: of the search (`studies_to_rename`).
        old: its name.
        new: its new name.
        progress: shows the progress, while the runs in MLflow are renamed.
        note: called with a line where a strategy file cannot be read.

    Raises:
        ValueError: it runs or is being prepared, MLflow does not answer, or a file or the record
            cannot be written. What is not renamed then is renamed by the next call.
    """
    url = lab.record_url
    with hold(url, studies.first):
        require_unchanged(url, studies)
        refuse_prepared(lab, [*studies.searches, *studies.renamed(new).searches])
        if studies.name == old:
            rename_studies(url, studies, new)
            studies = studies.renamed(new)
        for search in studies.searches:
            _move_results(lab, old + search[len(new) :], search, note)
        ids = study_ids(url)
        named = {ids[study]: (study, of.search) for study, of in studies.studies.items()}
        rename_runs(lab, named, progress.report("renaming runs in MLflow"))
        end_renaming(url, studies)


def _refuse_taken(lab: Lab, search: str, renamed: SearchStudies) -> None:
    """Refuse a new name that another search, a study or a folder of results has."""
    if has_begun(lab.record_url, search):
        raise ValueError(f"search {search} exists already; choose another name")
    methods = [of.method for of in renamed.studies.values() if of.search == search and of.method]
    refuse_taken(lab.record_url, search, methods)
    if os.path.lexists(folder := lab.results(search)):
        raise ValueError(f"results {folder}: exists already; move it, or choose another name")


def _remove(folder: Path) -> None:
    with _one_line(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


def _remove_pictures(lab: Lab, study: str) -> None:
    """Remove what Optuna's dashboard shows of a study."""
    with readable(study):
        found = optuna.load_study(study_name=study, storage=open_storage(lab.record_url))
        pictures = [lab.optuna_artifacts / m.artifact_id for m in get_all_artifact_meta(found)]
    for picture in pictures:
        with _one_line(picture):
            picture.unlink(missing_ok=True)


def _move_results(lab: Lab, old: str, new: str, note: Note) -> None:
    """Move the folder of a search's results, and rename the studies in its strategy files."""
    source, target = lab.results(old), lab.results(new)
    if source.exists() and target.exists():
        raise ValueError(
            f"results {source} and {target} both exist; move one of them away, and call "
            "the command again"
        )
    with _one_line(source):
        if source.exists():
            source.rename(target)
    for path in sorted(target.glob("*.json")):
        try:
            file = StrategyFile.read(path)
        except ValueError as error:
            note(f"{error}; it is left as it is")
            continue
        study = (file.search or {}).get("study", "")
        if study.startswith(f"{old}-"):
            told = {**(file.search or {}), "study": new + study[len(old) :]}
            dataclasses.replace(file, search=told).write(path)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; the same command continues") from None
