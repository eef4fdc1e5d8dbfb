"""The loop over the searches of a comparison."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kept_rows import Row, read_rows, rows_of_tasks


def row_of(number: int) -> list[Row]:
    if number == 1:
        raise RuntimeError("out of memory")
    return [{"name": f"search {number}", "fid": 2.0, "fid_se": 0.1}]


def beat(file: Path, number: int) -> list[Row]:
    for count in range(1500):
        file.write_text(str(count))
        time.sleep(0.2)
    return row_of(number)


def test_a_search_that_fails_is_told_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "rows.jsonl"
    rows = rows_of_tasks(kept, [0, 1, 2], row_of, processes=1)
    assert [row["name"] for row in rows] == ["search 0", "search 2"]
    assert read_rows(kept) == rows
    assert "2 of 3 failed: RuntimeError('out of memory')" in capsys.readouterr().out
    with pytest.raises(ValueError, match="nothing was measured"):
        rows_of_tasks(tmp_path / "none.jsonl", [1], row_of, processes=1)


def test_workers_do_not_outlive_a_comparison_that_is_killed(tmp_path: Path) -> None:
    code = f"from tests.benchmarks.test_kept_rows import run; run({str(tmp_path)!r})"
    comparison = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        assert seen(lambda: (tmp_path / "beat").exists())
    finally:
        comparison.kill()
        comparison.wait()
    assert seen(lambda: is_still(tmp_path / "beat"))


def run(folder: str) -> None:
    measure = functools.partial(beat, Path(folder) / "beat")
    rows_of_tasks(Path(folder) / "rows.jsonl", [0], measure, processes=1)


def is_still(file: Path) -> bool:
    before = file.stat().st_mtime_ns
    time.sleep(2)
    return file.stat().st_mtime_ns == before


def seen(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds within half a minute."""
    until = time.monotonic() + 30
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
