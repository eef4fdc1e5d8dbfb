"""Checks of the names that people give, and the names of files derived from them."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from search.reading import shown

LONGEST_SEARCH_NAME = 100
"""The most letters of a search's name. MLflow allows 250 for runs, whose names begin with it."""


def require_search_name(name: str, half_round: bool = False) -> None:
    """Check the name of a new search, which names a folder and studies, and is typed in shells.

    Args:
        name: the name of the search.
        half_round: whether the search is half a round of an alternation. Its name may be longer,
            because it consists of the alternation's name, which was checked, and an ending.

    Raises:
        ValueError: the name is too long, contains a character that is not allowed, or begins with
            '.', '_' or '-'.
    """
    if len(name) > LONGEST_SEARCH_NAME and not half_round:
        raise ValueError(
            f"name = {name!r}: expected at most {LONGEST_SEARCH_NAME} letters, got {len(name)}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"name = {shown(name)} is not a valid name of a search: expected the letters A-Z and "
            "a-z, digits, '.', '_' and '-', beginning with a letter or a digit"
        )


def derived_search_name(objective: str, steps: int | str, problem: Mapping[str, Any]) -> str:
    """Derive the name of a search that was given none; the same problem has the same name.

    Args:
        objective: the name of the objective.
        steps: T, or several in words.
        problem: what is searched and how, as JSON values.
    """
    text = json.dumps(problem, sort_keys=True)
    short = re.sub(r"[^a-z0-9._-]+", "-", objective.rpartition(":")[2].lower())
    short = short.strip("._-")[: LONGEST_SEARCH_NAME // 2] or "search"
    return f"{short}-T{steps}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def require_existing_search_name(name: str) -> None:
    """Check the name of a search that may exist; earlier versions allowed letters of any language.

    Raises:
        ValueError: no search can have this name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} is not a valid name of a search: expected letters, digits, '.', '_' and "
            "'-', beginning with a letter or a digit"
        )


def is_metric_name(name: object) -> bool:
    """Whether a metric may have this name: lower-case letters, digits, - and _ only."""
    return isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) is not None


def is_sha256(name: object) -> bool:
    """Whether it is a hash in our format: "sha256:" and 64 hexadecimal digits."""
    return isinstance(name, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", name) is not None


def file_stem(name: str) -> str:
    """Return a file name, without ending, for a method or control, valid on every file system.

    "rule of thumb" becomes "rule-of-thumb", and "spsa:SPSA" becomes "spsa-SPSA".
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


def require_distinct(where: str, values: Iterable[Hashable]) -> None:
    """Refuse a list that contains a value twice.

    Args:
        where: the flag or setting of the list, for the error line.
        values: the values of the list.

    Raises:
        ValueError: a value occurs more than once.
    """
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{where}: {shown(value)} is named twice")


def require_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse unknown names.

    Args:
        what: is named, for the error line.
        names: the given names.
        known: the known names, which the error lists.

    Raises:
        ValueError: a name is unknown.
    """
    for name in names:
        if name not in known:
            close = did_you_mean(str(name), known)
            raise ValueError(f"unknown {what} {shown(name)}{close}; known: {', '.join(known)}")


def did_you_mean(unknown: str, known: Iterable[str]) -> str:
    """What follows an unknown name in an error: " (did you mean width?)", or nothing."""
    close = difflib.get_close_matches(unknown, [*known], 1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""
