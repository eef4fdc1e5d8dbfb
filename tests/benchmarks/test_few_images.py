"""The comparison of metrics with few images and many features."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import few_images
from benchmarks.few_images import (
    PIXELS,
    Arm,
    Plan,
    RandomNetwork,
    draw,
    measured,
    table,
)
from search.strategy import GenerationStrategy


@pytest.fixture(scope="module")
def plan(letter_pictures: Path) -> Plan:
    return Plan(letter_pictures, budget=8 * 18, test_images=324)


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        pytest.param(Arm(PIXELS, "kid", 18), "kid, n = 18", marks=pytest.mark.long),
        (Arm(PIXELS, "fid", 18, 8), "fid on 8 directions, n = 18"),
    ],
)
def test_whatever_is_searched_is_tested_in_fid_on_all_features(
    plan: Plan, arm: Arm, name: str
) -> None:
    (row,) = measured(plan, arm, 0)
    assert row["name"] == name
    strategy = GenerationStrategy.from_json(json.loads(row["strategy"]))
    plain = few_images.tested(plan, Arm(PIXELS, "fid", 0), 0, name, strategy, 0.0)
    assert row["fid"] == plain["fid"] > 10
    assert table(pd.DataFrame([row])).count("\n") == 1


def test_the_picture_shows_both_kinds_of_features(plan: Plan, tmp_path: Path) -> None:
    rows = [
        {"features": features, "metric": metric, "name": metric, "fid": fid, "budget": 1}
        for features in ("a", "b")
        for metric, fid in (("control", 3.0), ("kid", 2.0), ("fid", 2.5))
    ]
    draw(pd.DataFrame(rows), tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 10_000


def test_the_random_network_is_the_same_everywhere_and_scales() -> None:
    images = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = RandomNetwork()(images)
        twice = RandomNetwork(2.0)(images)
    assert found.shape == (3, 2048)
    torch.testing.assert_close(twice, 2 * found)
    assert RandomNetwork().hash() == RandomNetwork().hash()
