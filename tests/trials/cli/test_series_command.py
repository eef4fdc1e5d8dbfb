"""`autonat search` with several T."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search.strategy_file import StrategyFile
from tests.options import SMALL, laid_over
from trials.lab import Lab
from trials.record.hold import hold
from trials.record.searches import recorded_settings

Autonat = Callable[..., tuple[int, str, str]]
SERIES = laid_over(
    [word for word in SMALL if word not in ("random", "tpe", "--optimiser")],
    *("--steps", "4,2", "--budget", "900", "--name", "both"),
)


def test_a_series_is_run_shown_resumed_and_compared(autonat: Autonat) -> None:
    code, out, err = autonat("search", *SERIES, "--control", "more remask noise")
    assert code == 0
    assert "learns from both-T2" in err
    assert err.index("both: checking") < err.index("both-T2: searching") < err.index("both-T4: sea")
    table = out[out.rindex("found: FID") :]
    assert [line.split()[1] for line in table.splitlines() if "│" in line] == ["2", "4"]
    assert "more remask noise" in table
    assert "both-T*" in out
    report = out.splitlines()[-2].split()[-1]
    assert report.endswith("both-T2+both-T4.html")
    assert "against forward passes" in Path(report).read_text()
    code, out, err = autonat("search", "--resume", "both", "--json")
    assert code == 0
    assert "both-T2: finished; nothing is left to do" in err
    told = json.loads(out)
    assert (told["name"], told["report"]) == ("both", report)
    assert [search["steps"] for search in told["searches"]] == [2, 4]
    for search in told["searches"]:
        best = StrategyFile.read(Path(search["best"]))
        assert best.generation.steps == search["steps"]
        assert {r["method"] for r in search["results"]} > {"coarse-to-fine", "rule of thumb"}
    assert any(search["on_front"] for search in told["searches"])
    code, _, err = autonat("search", "--resume", "both", "--retry-failed")
    assert code == 2
    assert "expected the name of one search, both-T2 or both-T4, got both" in err
    with hold(Lab.at(Path("autonat-lab")).record_url, "both-T4-coarse-to-fine"):
        code, _, err = autonat("search", "--resume", "both")
    assert code == 2
    assert "search both-T4 has been running in process " in err
    assert "importing" not in err
    code, _, err = autonat("search", *SERIES)
    assert code == 2
    assert "series both exists already, with the searches both-T2, both-T4: --resume both" in err
    for words in (["show", "both"], ["report", "both"], ["delete", "both", "--yes"]):
        code, _, err = autonat(*words)
        assert code == 2
        assert "both is a series; give one of its searches: both-T2, both-T4" in err
    code, _, err = autonat("rename", "both-T4", "both", "--yes")
    assert code == 2
    assert "series both exists already, with the searches both-T2, both-T4; choose another" in err
    assert autonat("delete", "both-T2", "--yes")[0] == 0
    code, out, err = autonat("search", "--resume", "both", "--json")
    assert code == 0, err
    assert "both-T4: finished; nothing is left to do" in err
    assert [search["steps"] for search in json.loads(out)["searches"]] == [2, 4]
    settings = recorded_settings(Lab.at(Path("autonat-lab")).record_url, "both-T2")
    # It does not learn from itself, as what T4 remembers would have it.
    assert settings.get("learn_from", []) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--steps", "2,100"], "T = 100 steps, but the image has only 64 tokens"),
        (["--steps", "2,x"], "--steps: expected whole numbers separated by commas, got '2,x'"),
        (["--steps", "2,4", "--optimisers", "gp"], "optimiser gp does not learn from earlier"),
        (["--steps", "2,4", "--max-forward-passes", "3"], "max_forward_passes = 3, but T = 4 st"),
        (["--steps", "2", "--learn-from", "no"], "no search 'no' in"),
    ],
)
def test_nothing_is_measured_where_one_search_is_not_valid(
    words: list[str], line: str, autonat: Autonat
) -> None:
    code, out, err = autonat("search", *laid_over(SERIES, *words))
    assert (code, out) == (2, "")
    assert line in err.splitlines()[-1]
    assert "searching" not in err
