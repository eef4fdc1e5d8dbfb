"""Settings that were recorded, compared with those that are given now."""

from __future__ import annotations

from typing import Any

MOST_NAMED = 3
"""Differences that an error names."""


def differences(recorded: Any, given: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, as lines "steps = 8, not 4"."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        keys = [*recorded, *(key for key in given if key not in recorded)]
        parts = [
            differences(recorded.get(k), given.get(k), f"{where}.{k}" if where else k) for k in keys
        ]
        return [line for part in parts for line in part]
    return [] if recorded == given else [f"{where} = {recorded!r}, not {given!r}"]


def require_same(what: str, recorded: Any, given: Any) -> None:
    """Refuse settings that differ from the recorded ones.

    Args:
        what: the search or study that they belong to, for the error line.
        recorded: JSON values.
        given: JSON values.

    Raises:
        ValueError: they differ; the first differences are named.
    """
    differing = differences(recorded, given)
    if differing:
        raise ValueError(f"{what} was made with {'; '.join(differing[:MOST_NAMED])}")
