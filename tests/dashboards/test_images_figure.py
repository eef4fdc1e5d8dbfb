"""The figure of values over the number of images."""

from __future__ import annotations

import math

from dashboards.figures import CONTROL_COLOUR, SEARCH_COLOURS
from dashboards.images_figure import Level, value_over_images
from search.measurement import AtImages

POINTS = [AtImages(math.inf, 3.0, 0.2), AtImages(1000, 4.0, 0.1), AtImages(500, 5.0, 0.1)]
COLOURS = {"tpe": SEARCH_COLOURS[0], "rule of thumb": CONTROL_COLOUR}


def test_lines_over_one_over_n_end_at_infinity() -> None:
    figure = value_over_images(dict.fromkeys(COLOURS, POINTS), COLOURS)
    measured, end, *_ = figure.data
    assert tuple(measured.x) == (1 / 1000, 1 / 500)
    assert (tuple(end.x), tuple(end.y)) == ((0.0, 1 / 1000), (3.0, 4.0))
    assert (measured.line.dash, end.line.dash) == ("solid", "dot")
    assert tuple(figure.layout.xaxis.ticktext) == ("∞", "1,000", "500")


def test_reference_values_are_lines_and_those_far_above_are_named() -> None:
    levels = [Level("real images", 1.2, 1000), Level("constant image", 90.0, 1000)]
    figure = value_over_images({"tpe": POINTS}, COLOURS, levels=levels)
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == 1.2
    texts = [a.text for a in figure.layout.annotations]
    assert texts == ["real images, n = 1,000", "far above: constant image 90"]
