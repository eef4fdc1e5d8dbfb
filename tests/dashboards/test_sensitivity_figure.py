"""The figure of sensitivity and the sentence beside it."""

from __future__ import annotations

from dashboards.figures import SEARCH_COLOURS
from dashboards.sensitivity_figure import (
    MOST_SHOWN,
    importance_figure,
    most_sensitive,
    sensitivity_figure,
)
from search.sensitivity import Change, Sensitivity


def moved(change: float, error: float = 0.1) -> Change:
    return Change(1.0, 2.0, change, change - error, change + error)


FOUND = Sensitivity(
    raised={"mask_ratio": (moved(0.3), None), "guidance_scale": (moved(0.05), moved(0.9), None)},
    lowered={"mask_ratio": (moved(-0.2), moved(0.1)), "guidance_scale": (None, None, moved(0.2))},
    explained=0.9,
    evaluations=50,
)
COLOUR = SEARCH_COLOURS[0]


def test_each_move_is_a_bar_with_a_whisker_and_a_bound_has_none() -> None:
    figure = sensitivity_figure(FOUND, COLOUR)
    drawn = {(bar.xaxis, bar.legendgroup): (tuple(bar.x), tuple(bar.y)) for bar in figure.data}
    assert drawn == {
        ("x", "raised"): ((0,), (0.3,)),
        ("x", "lowered"): ((0, 1), (-0.2, 0.1)),
        ("x2", "raised"): ((0, 1), (0.05, 0.9)),
        ("x2", "lowered"): ((2,), (0.2,)),
    }
    assert all(len(bar.error_y.array) == len(bar.x) for bar in figure.data)
    assert [a.text for a in figure.layout.annotations] == ["mask ratio", "guidance scale"]
    assert [a.xref for a in figure.layout.annotations] == ["x domain", "x2 domain"]


def test_the_most_and_the_least_sensitive_value_are_said_in_words() -> None:
    assert most_sensitive(FOUND, "FID") == (
        "Most sensitive is the guidance scale of step 1: raising it by a tenth of its range, from "
        "1 to 2, is expected to raise FID by 0.9 (0.8 to 1). Least sensitive is the mask ratio: no "
        "such move of one of its values changes FID by more than 0.3."
    )
    unsure = Sensitivity({"mask_ratio": (moved(0.05),)}, {"mask_ratio": (None,)}, 0.6, 30)
    assert most_sensitive(unsure) is None


def test_the_most_important_parameters_are_drawn_the_largest_on_top() -> None:
    figure = importance_figure({f"p{i}": i / 100 for i in range(20)}, COLOUR)
    (bars,) = figure.data
    assert len(bars.y) == MOST_SHOWN
    assert bars.y[-1] == "p19"
