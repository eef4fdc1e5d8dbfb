from __future__ import annotations

import io

import pytest
from rich.console import Console

from search.progress import MethodProgress, SearchProgress, Value
from trials.progress.table import line_of, table_of

SEARCH = SearchProgress(
    "first",
    "images",
    (
        MethodProgress("first-cf", "coarse-to-fine", "fid", 30, 0, 30, True, Value(12.3, 0.2)),
        MethodProgress(
            *("first-a", "autonat-common-numbers", "fid", 1_234, 3, 10_000, False),
            *(Value(13.345, 0.31), 8790.0, 8000.0, 16),
        ),
        MethodProgress("first-[x]", "mine:[x]", "fid", 0, 0, 30, False),
        MethodProgress("first-test", None, "fid", 0, 0, 20, False),
    ),
    {"rule of thumb": Value(31.2, 0.4), "more remask noise": Value(15.1, 0.3)},
    9000.0,
)


def drawn(width: int) -> list[str]:
    seen = io.StringIO()
    Console(file=seen, width=width).print(table_of(SEARCH, width))
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in seen.getvalue().splitlines()]


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_no_number_is_shortened_on_a_narrow_terminal(width: int) -> None:
    lines = drawn(width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    for told in ("1,234/10,000", "13.35 ± 0.31", "2 h 13 min", "31.20 ± 0.40", "15.10 ± 0.30"):
        assert told in text, text
    assert ("8,790" in text) == ("images/s" in text) == ("workers" in text) == (width >= 76)


def test_a_line_of_a_log_says_it_all() -> None:
    lines = [line_of(SEARCH, m.study).replace("\N{NO-BREAK SPACE}", " ") for m in SEARCH.methods]
    beside = "(rule of thumb 31.20 ± 0.40, more remask noise 15.10 ± 0.30)"
    assert lines == [
        f"first-cf: 30/30, best FID 12.30 ± 0.20 {beside}, done",
        f"first-a: 1,234/10,000, 3 failed, 8,790 images/s, best FID 13.35 ± 0.31 {beside}, "
        "about 2 h 13 min left",
        "first-[x]: 0/30",
        "first-test: 0/20",
    ]
