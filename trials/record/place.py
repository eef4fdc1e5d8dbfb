"""Where a search last ran, as its record remembers it, so that resuming it runs it there again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trials.record.storage import open_storage, outlast, readable
from trials.record.studies import StudyOf, all_studies

ATTRIBUTE = "place"


def note_place(url: str, study: str, place: Mapping[str, Any]) -> None:
    """Write down where the search of a study runs.

    Args:
        url: of the record.
        study: of the search or the alternation.
        place: settings, as JSON values by name.

    Raises:
        ValueError: the storage cannot be written.
    """
    with readable(url):
        storage = open_storage(url)
        study_id = storage.get_study_id_from_name(study)
        outlast(
            storage,
            lambda: storage.set_study_user_attr(study_id, ATTRIBUTE, dict(place)),
            lambda: False,
        )


def last_place(url: str, search: str) -> dict[str, Any]:
    """Where a search or an alternation last ran; empty if its record does not say.

    Raises:
        ValueError: the storage cannot be read.
    """
    for study in all_studies(url):
        of, told = StudyOf.of_attributes(study.user_attrs), study.user_attrs.get(ATTRIBUTE)
        if of is not None and of.search == search and told is not None:
            return dict(told)
    return {}
