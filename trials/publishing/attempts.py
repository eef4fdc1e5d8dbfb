"""Making what is optional, so that a failure costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from search.user_code import in_one_line

T = TypeVar("T")

Note = Callable[[str], None]
"""Called with a line for each optional result that could not be made."""


def attempt(failed: str, make: Callable[[], T], note: Note) -> T | None:
    """Try to make something optional; a user's own code may raise any error.

    Args:
        failed: the start of the note, a whole sentence.
        make: returns the result.
        note: called with the reason of a failure.

    Returns:
        The result, or None after a failure.
    """
    try:
        return make()
    except (Exception, SystemExit) as error:
        note(f"{failed}: {in_one_line(error)}")
        return None
