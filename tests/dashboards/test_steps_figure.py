"""The final tests of several T against forward passes."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from dashboards.result_figures import draw_steps
from search.strategy import GenerationStrategy
from trials.results.results import MethodResult


def result(method: str, steps: int, value: float, passes: int, search: str) -> MethodResult:
    found = method == "coarse-to-fine"
    given: dict[str, Any] = {
        "method": method,
        "strategy": GenerationStrategy.maskgit(steps),
        "value": value,
        "standard_error": 0.1,
        "values": (value,),
        "test_images": 1000,
        "test_seeds": (1,),
        "forward_passes": passes,
        "flops": None,
        "images": 100 if found else 0,
        "seconds": 1.0,
        "search_value": value if found else None,
        "evaluations": pd.DataFrame(),
        "samples": None,
        "search": search,
    }
    return MethodResult(**given)


ROWS = [
    result("coarse-to-fine", 8, 4.0, 13, "a-T8"),
    result("coarse-to-fine", 4, 5.0, 6, "a-T4"),
    result("rule of thumb", 4, 12.0, 8, "a-T4"),
    result("rule of thumb", 8, 11.0, 16, "a-T8"),
    result("random order", 4, 9.0, 4, "a-T4"),
    result("more remask noise", 4, 8.0, 4, "a-T4"),
    result("more remask noise", 8, math.nan, 8, "a-T8"),
    result("random order", 8, 7.0, 8, "a-T8"),
]


def test_a_line_for_searches_the_rule_of_thumb_and_the_best_control() -> None:
    figure = draw_steps({r.label: r for r in ROWS})
    assert figure is not None
    lines = {line.name: line for line in figure.data}
    assert list(lines) == ["coarse-to-fine", "rule of thumb", "best control"]
    drawn = {name: [*zip(line.x, line.y, strict=True)] for name, line in lines.items()}
    assert drawn["coarse-to-fine"] == [(6, 5.0), (13, 4.0)]
    assert drawn["rule of thumb"] == [(8, 12.0), (16, 11.0)]
    assert drawn["best control"] == [(4, 8.0), (8, 7.0)]
    assert lines["coarse-to-fine"].text[0] == "T = 4"
    assert "random order" in lines["best control"].hovertext[1]
    assert len({line.line.dash for line in figure.data}) == 3


@pytest.mark.parametrize("kept", [slice(0, 1), slice(2, 8)])
def test_one_t_has_no_such_figure(kept: slice) -> None:
    assert draw_steps({r.label: r for r in ROWS[kept]}) is None
