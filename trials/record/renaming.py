"""The note that a search is being renamed: its studies have it until files and runs follow.

A search whose renaming was cut off has its new name in the record and its old one elsewhere. Under
neither name may it be used before the same command has finished.
"""

from __future__ import annotations

from typing import NamedTuple

from trials.record.studies import StudyOf, all_studies

RENAMING = "renaming_from"
"""The attribute of a study that holds what its search, or its alternation, was called."""


class Renaming(NamedTuple):
    """A renaming that was cut off: of a search, or of an alternation with its searches."""

    old: str
    new: str


def renaming_of(url: str, name: str) -> Renaming | None:
    """The renaming, from or to that name, that was cut off; None if there is none.

    Args:
        url: of the record.
        name: of a search, of an alternation or of one of its searches.

    Raises:
        ValueError: the storage cannot be read.
    """
    for study in all_studies(url):
        of, old = StudyOf.of_attributes(study.user_attrs), study.user_attrs.get(RENAMING)
        if of is not None and old is not None:
            found = Renaming(old, of.alternation or of.search)
            if name in (*found, of.search):
                return found
    return None


def refuse_half_renamed(url: str, name: str) -> None:
    """Refuse to use a name that is the old or the new one of a renaming that was cut off.

    Raises:
        ValueError: it is one; the line has the command that finishes the renaming.
    """
    found = renaming_of(url, name)
    if found is not None:
        raise ValueError(
            f"search {name}: the renaming of {found.old} to {found.new} was cut off; "
            f"autonat rename {found.old} {found.new} finishes it"
        )
