"""The progress of searches that differ only by their seed."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboards.figures import SEARCH_COLOURS, FinalTest
from dashboards.seeds_figure import best_fid_over_seeds


def table(fids: list[float], images: int) -> pd.DataFrame:
    return pd.DataFrame({"fid": fids, "images": images, "state": "COMPLETE"})


def test_a_band_from_the_lowest_to_the_highest_around_the_median() -> None:
    tables = [table([9, 5], 200), table([8, 7, 6, 4], 100), table([7, 7, 7, 7], 100)]
    tests = {"tpe": FinalTest(5.0, 0.2, (5.0,))}
    figure = best_fid_over_seeds({"tpe": tables}, {"tpe": SEARCH_COLOURS[0]}, tests=tests)
    line, highest, lowest = (trace for trace in figure.data if trace.xaxis != "x2")
    assert list(line.x) == list(highest.x) == [200, 300, 400]  # from where all have a value
    assert list(line.y) == [7, 7, 5]
    assert list(lowest.y) == [7, 6, 4]
    assert max(highest.y) == pytest.approx(7.3)  # clipped like all that is far above
    assert lowest.fill == "tonexty"


def test_a_single_search_is_a_line_without_points() -> None:
    figure = best_fid_over_seeds({"gp": [table([3, 2], 100)]}, {"gp": SEARCH_COLOURS[0]})
    (line,) = figure.data
    assert (list(line.x), list(line.y), line.mode) == ([100, 200], [3, 2], "lines")
