"""The table of speeds, small, as a machine without a GPU makes it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_rows import Bench, Row, line_of


def test_every_part_has_rows_and_a_part_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Bench) -> Iterator[Row]:
        raise RuntimeError("no such\nnetwork")

    monkeypatch.setitem(gpu.PARTS, "features", broken)
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path / "gpu.json")])
    names = ["features", *(name for name in gpu.PARTS if name != "features")]
    monkeypatch.setattr("sys.argv", [*gpu.sys.argv, "--small", "--only", ",".join(names)])
    assert gpu.main() == 1
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert told["failed"] == ["features: RuntimeError: no such network"]
    measured = {"ceiling", "letters", "training", "distance", "forward", "decoding", "pixels"}
    others = {"together", "zoo", "amused", "sampling"}
    assert {row["part"] for row in told["rows"]} == measured | others
    families = {row["what"].split(",")[0] for row in told["rows"] if row["part"] == "zoo"}
    assert families == {"MUSE", "Halton-MaskGIT base", "TiTok L-32"}
    at_once = [row["what"] for row in told["rows"] if row["part"] == "together"]
    assert [what.rpartition(", ")[2] for what in at_once] == ["1 at once", "3 at once"]
    assert told["seconds"] > 0
    for row in told["rows"]:
        assert 0 < row["lowest"] <= row["value"] <= row["highest"] < math.inf
        assert (row["share"] is None) == (row["tflops"] is None)
    assert list(told["seconds_of"]) == names
    first, *_, ours = (row for row in told["rows"] if row["part"] == "decoding")
    assert first["ratio"] == 1
    assert ours["ratio"] == pytest.approx(ours["value"] / first["value"])
    said = capsys.readouterr().out
    assert "features: RuntimeError: no such network" in said
    assert all(line_of(Row(**row)) in said for row in told["rows"])


def test_after_the_given_seconds_no_further_part_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    given = ["--small", "--seconds", "0.01", "--only", "decoding,distance,zoo", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["gpu", *given])
    assert gpu.main() == 0
    told = json.loads(out.read_text())
    assert told["left_out"] == ["distance", "zoo"]
    assert {row["part"] for row in told["rows"]} == {"decoding"}
    assert "zoo: left out" in capsys.readouterr().out


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu", "--only", "letter"])
    with pytest.raises(SystemExit) as refused:
        gpu.main()
    assert refused.value.code == 2
