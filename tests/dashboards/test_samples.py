"""Sample grids."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dashboards.samples import GAP, grid, png


def test_images_lie_row_by_row_with_a_gap_around_each() -> None:
    sheet = grid(np.arange(3, dtype=np.uint8).repeat(4).reshape(3, 2, 2), columns=2)
    assert sheet.shape == (7, 7)
    assert (sheet[1:3, 1:3] == 0).all()
    assert (sheet[1:3, 4:6] == 1).all()
    assert (sheet[4:6, 1:3] == 2).all()
    assert (sheet[4:6, 4:6] == GAP).all()
    assert (sheet[[0, 3, 6]] == GAP).all()


def test_colour_images_and_the_default_shape() -> None:
    assert grid(np.zeros((5, 4, 6, 3), dtype=np.uint8)).shape == (2 * 5 + 1, 3 * 7 + 1, 3)


def test_a_png_repeats_pixels_until_it_is_wide_enough() -> None:
    sheet = grid(np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
    read = np.asarray(Image.open(io.BytesIO(png(sheet, least_width=50))))
    assert read.shape == (54, 54)
    assert (read[::9, ::9] == sheet).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 4, 4), float), ((4, 4), np.uint8), ((2, 4, 4, 2), np.uint8), ((0, 4, 4), np.uint8)],
)
def test_what_is_no_list_of_images_is_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"expected images as uint8 \[n, H, W\] or \[n, H, W, 3\]"):
        grid(np.zeros(shape, dtype))


def test_columns_are_positive() -> None:
    with pytest.raises(ValueError, match="columns = 0"):
        grid(np.zeros((1, 4, 4), np.uint8), columns=0)
