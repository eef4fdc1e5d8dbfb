"""The pace of a search, and the time that is left."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from trials.results.pace import RECENT, Ended, pace, seconds_left

NOON = datetime(2026, 1, 1, 12)
SETTINGS = {"search": {"images_per_evaluation": 100, "test_images": 1000}}


def ended(*ends: float, seconds: float = 10, amount: int = 100) -> list[Ended]:
    return [Ended(NOON + timedelta(seconds=end), seconds, amount) for end in ends]


def test_it_is_that_of_the_last_evaluations() -> None:
    slow = ended(*range(1000, 21_000, 1000), seconds=1000)
    quick = ended(*range(20_010, 20_010 + 10 * RECENT, 10))
    found = pace([*reversed(slow), *quick])
    assert found is not None
    assert found == pytest.approx((10, 0.1, 1))
    assert seconds_left(found, SETTINGS, 7, 2) == pytest.approx((700 + 2000) / 10)


def test_the_first_ones_are_timed_from_their_start() -> None:
    assert pace(ended(10)) == pytest.approx((10, 0.1, 1))
    assert pace(ended(10, 11, 20, 21, 30, 31)) == pytest.approx((600 / 31, 6 / 31, 60 / 31))


def test_it_is_unknown_before_an_evaluation_took_time() -> None:
    assert pace([]) is None
    assert pace(ended(10, seconds=0)) is None
    assert seconds_left(None, SETTINGS, 7, 2) is None


def test_where_models_are_trained_trainings_are_counted() -> None:
    trained = {"search": SETTINGS["search"] | {"what": "training"}}
    assert seconds_left(pace(ended(10, amount=50)), trained, 7, 2) == pytest.approx(70)
