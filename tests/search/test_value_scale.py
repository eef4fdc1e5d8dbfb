"""The scale on which a model sees values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from search.value_scale import scaled


def test_the_scale_is_standardised_and_can_be_read_back() -> None:
    values = np.array([9.0, 4.0, 5.0, 30.0])
    scale, chosen, y = scaled(values, 10)
    assert list(chosen) == [0, 1, 2, 3]
    assert (y.mean(), y.std()) == (pytest.approx(0), pytest.approx(1))
    assert [scale.to_value(v) for v in y] == pytest.approx(values)


def test_what_is_not_finite_counts_as_the_highest() -> None:
    _, _, y = scaled(np.array([9.0, math.nan, 4.0, math.inf]), 10)
    assert y[1] == y[3] == max(y)
    assert not scaled(np.array([math.nan]), 10)[2].any()


def test_the_lowest_and_the_latest_are_chosen() -> None:
    values = np.arange(100.0)[::-1] % 50
    _, chosen, y = scaled(values, 8)
    assert set(chosen) == {98, 99, 49, 48, 96, 97}
    assert len(y) == len(chosen)
