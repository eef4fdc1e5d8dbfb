"""What is read from measurements and records; the command line's tests see the rest."""

from __future__ import annotations

import math

import pytest

from search.measurement import Measurement, over_images
from trials.results.results import fid_over_n


def measured(fid: float, *smaller: tuple[int, float]) -> Measurement:
    return Measurement(fid, None, 400, 8, 1.0, smaller)


def test_fid_over_n_is_a_mean_over_seeds_and_ends_at_infinity() -> None:
    # On the line 5 + 400 / n, and 2 above it.
    first = measured(6.0, (100, 9.0), (200, 7.0))
    second = measured(8.0, (100, 11.0), (200, 9.0))
    found = fid_over_n([first, second])
    assert list(found) == ["200", "100", "infinite"]
    assert found == pytest.approx({"200": 8.0, "100": 10.0, "infinite": 6.0})


def test_an_n_that_not_all_have_is_left_out() -> None:
    assert fid_over_n([measured(6.0, (200, 7.0)), measured(8.0)]) == {}
    assert fid_over_n([measured(6.0)]) == {}


def test_values_over_n_have_errors_over_seeds() -> None:
    first, second = measured(6.0, (200, 7.0)), measured(8.0, (200, 9.0))
    infinite, own, smaller = over_images([first, second])
    assert (infinite.images, own.images, smaller.images) == (math.inf, first.images, 200)
    assert (own.value, own.standard_error) == (7.0, pytest.approx(1.0))
    assert infinite.value < own.value < smaller.value
    assert over_images([first])[1].standard_error is None
    assert over_images([measured(6.0)]) == over_images([]) == ()
