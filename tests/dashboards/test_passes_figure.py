"""Values against forward passes, and their front."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboards.figures import SEARCH_COLOURS
from dashboards.passes_figure import costs_vary, value_over_passes

TABLE = pd.DataFrame(
    {
        "fid": [10.0, 8.0, 9.0, 7.0, 1.0, 500.0],
        "forward_passes": [8, 6, 5, 7, 4, 6],
        "state": ["COMPLETE"] * 4 + ["FAIL", "COMPLETE"],
    }
)


def test_the_front_is_the_lowest_value_for_each_cost() -> None:
    points, front = value_over_passes({"tpe": TABLE}, {"tpe": SEARCH_COLOURS[0]}).data
    assert list(zip(front.x, front.y, strict=True)) == [(5, 9.0), (6, 8.0), (7, 7.0)]
    assert max(y for y in points.y if y == y) == pytest.approx(10.45)  # 500 is at the edge
    assert points.customdata[5][1] == 500.0


def test_costs_that_hardly_vary_have_no_figure() -> None:
    assert costs_vary({"tpe": TABLE})
    assert not costs_vary({"tpe": TABLE.assign(forward_passes=8)})
    assert not costs_vary({"tpe": TABLE.assign(state="FAIL")})
    assert not costs_vary({})
