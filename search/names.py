"""Names that people give: what they may hold, and what files are called after them."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from search.reading import shown

LONGEST_SEARCH_NAME = 100
"""Letters; MLflow allows 250 for the names of runs, which begin with the search's name."""


def require_search_name(name: str, half_round: bool = False) -> None:
    """Check the name of a new search: it names a folder, begins studies' names and is a shell word.

    Args:
        name: of the search.
        half_round: whether the search is half a round of an alternation, whose name may be longer:
            it is the alternation's, which was checked, and an ending.

    Raises:
        ValueError: it is too long, holds another character, or begins with '.', '_' or '-'.
    """
    if len(name) > LONGEST_SEARCH_NAME and not half_round:
        raise ValueError(
            f"name = {name!r}: expected at most {LONGEST_SEARCH_NAME} letters, got {len(name)}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"name = {shown(name)} is no name of a search: it may hold the letters A-Z and a-z, "
            "digits, '.', '_' and '-', and begins with a letter or a digit"
        )


def derived_search_name(objective: str, steps: int, problem: Mapping[str, Any]) -> str:
    """The name of a search that was given none: the same problem has the same name.

    Args:
        objective: its name.
        steps: T.
        problem: what is searched and how, as JSON values.
    """
    text = json.dumps(problem, sort_keys=True)
    short = re.sub(r"[^a-z0-9._-]+", "-", objective.rpartition(":")[2].lower())
    short = short.strip("._-")[: LONGEST_SEARCH_NAME // 2] or "search"
    return f"{short}-T{steps}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def require_existing_search_name(name: str) -> None:
    """Check the name of a search that may be there: earlier versions took letters of any language.

    Raises:
        ValueError: a search of that name cannot exist.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} is no name of a search: it has letters, digits, '.', '_' and '-', and "
            "begins with a letter or a digit"
        )


def is_metric_name(name: object) -> bool:
    """Whether a metric may be called that: small letters, digits, - and _ only."""
    return isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) is not None


def is_sha256(name: object) -> bool:
    """Whether it is a hash as we write them: "sha256:" and 64 hexadecimal digits."""
    return isinstance(name, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", name) is not None


def file_stem(name: str) -> str:
    """The name of a file for a method or a control, without its ending; every file system takes it.

    "rule of thumb" becomes "rule-of-thumb", and "spsa:SPSA" becomes "spsa-SPSA".
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


def require_distinct(where: str, values: Iterable[Hashable]) -> None:
    """Refuse a list that names something twice.

    Args:
        where: the flag or setting with the list, for the error line.
        values: of the list.

    Raises:
        ValueError: a value is there more than once.
    """
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{where}: {shown(value)} is named twice")
