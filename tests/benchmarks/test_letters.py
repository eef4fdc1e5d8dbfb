"""The tables of the comparison on letters."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from benchmarks.letters import table
from benchmarks.letters_passes import passes_table
from search.controls import CONTROLS

FOUND = "coarse-to-fine with gradients and spread noise"


def row(label: str, name: str, steps: int, fid: float, budget: int = 0) -> dict[str, Any]:
    strategy = CONTROLS.get(name, CONTROLS["more remask noise"])(steps)
    return {
        "label": label,
        "name": name,
        "size": "large",
        "steps": steps,
        "seed": 0,
        "images": 0 if label.startswith("controls") else budget,
        "metric": "fid",
        "images_per_evaluation": 1000,
        "budget": budget,
        "fid": fid,
        "strategy": json.dumps(strategy.to_json()),
    }


ROWS = pd.DataFrame(
    [
        row("controls", "rule of thumb", 8, 20.0),
        row("controls", "more remask noise", 8, 10.0),
        row("controls with spread noise", "more remask noise", 8, 9.5),
        row("controls of the first runs", "more remask noise", 8, 10.2),
        row(FOUND, "T8-s0", 8, 9.0, 62_000),
        row(FOUND, "T8-s1", 8, 9.2, 62_000),
        row(FOUND, "T32-s0", 32, 8.0, 20_000),
    ]
)


def test_every_control_has_a_line_of_its_own_and_a_search_one_for_its_seeds() -> None:
    lines = table(ROWS).splitlines()
    assert len(lines) == 1 + 4 + 2
    assert sum("more remask noise of the first runs" in line for line in lines) == 1
    (both,) = [line for line in lines if FOUND in line and " 8 " in line]
    assert " 9.1 " in both.replace("9.10", "9.1 ")


def test_the_figure_has_searches_of_equal_images_and_the_lowest_control() -> None:
    found = passes_table(ROWS).set_index("line")
    assert found.loc["best control", "fid"] == 9.5
    assert found.loc["rule of thumb", "passes"] == 16
    assert list(found.loc["found, with spread noise", "fid"]) == [9.0, 9.2]
