"""How the conformance suites say that a promise is not kept, in `search`, `models` and `trials`."""

from __future__ import annotations


def require(kept: bool, line: str) -> None:
    """Fail a check. Unlike an assert statement, this also works under `python -O`.

    Args:
        kept: whether the promise is kept.
        line: what was expected and what was found.

    Raises:
        AssertionError: the promise is not kept.
    """
    if not kept:
        raise AssertionError(line)
