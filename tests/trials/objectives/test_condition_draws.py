"""Which classes the images of an evaluation have."""

from __future__ import annotations

import pytest
import torch

from trials.objectives.condition_draws import draw_conditions


def drawn(way: str, count: int, first: int, chunk: int, seed: int = 0) -> torch.Tensor:
    return draw_conditions(way, count, first, chunk, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 10, 36, 1000])
def test_equal_numbers_of_each_class_whatever_the_seed(count: int) -> None:
    chunks = [drawn("equal", count, first, 50, seed=first) for first in range(0, 50 * count, 50)]
    assert torch.equal(torch.cat(chunks).bincount(), torch.full((count,), 50))


def test_where_a_chunk_holds_few_classes_they_are_spread_over_all() -> None:
    some = drawn("equal", 1000, 0, 100).sort().values
    assert some.diff().max() < 50


def test_random_ones_depend_on_the_source_alone() -> None:
    assert torch.equal(drawn("random", 10, 0, 50, seed=1), drawn("random", 10, 50, 50, seed=1))
    assert not torch.equal(drawn("random", 10, 0, 50, seed=1), drawn("random", 10, 0, 50, seed=2))
    assert set(drawn("random", 3, 0, 200).tolist()) == {0, 1, 2}
