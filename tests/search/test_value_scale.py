"""The scale on which a model sees values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from search.value_scale import ReferenceScale, scaled


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


def test_references_fix_a_scale_with_room_below_them() -> None:
    scale = ReferenceScale.of([12.0, 10.0, 30.0])
    y = scale.to_model(np.array([10.0, 12.0, 8.0, 1000.0]))
    assert y[:2] == pytest.approx([0, math.asinh(1)])
    assert y[2] == pytest.approx(-y[1])
    assert y[3] < 10
    own = scale.standardised(y)
    again = own.to_model(np.array([10.0, 12.0, 8.0, 1000.0]))
    assert (again.mean(), again.std()) == (pytest.approx(0), pytest.approx(1))
    assert [own.to_value(v) for v in again] == pytest.approx([10, 12, 8, 1000])
    assert np.isfinite(ReferenceScale.of([3.0, 3.0]).to_model(np.array([3.0, 4.0]))).all()
