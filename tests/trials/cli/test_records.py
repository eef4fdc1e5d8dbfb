"""The commands on recorded searches say at once what they do, because they import for seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Autonat = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show small", "small: reading its record …"),
        ("compare small", "small: reading their records …"),
        ("report small other", "small, other: writing one report of them …"),
        ("tabulate small --out mine.parquet", "mine.parquet: writing a table of small …"),
    ],
)
def test_what_takes_long_is_said_at_once(
    words: str, said: str, autonat: Autonat, searched: Path
) -> None:
    assert autonat(*words.split(), "--lab", searched)[2].splitlines()[0] == said
