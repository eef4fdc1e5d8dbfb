from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from search.controls import more_remask_noise, published
from search.coordinates import Coordinates
from search.curve_space import CurveSpace, described_by
from search.first_strategies import first_strategies
from search.space import Space
from search.strategy import GenerationStrategy
from search.testing import TOKENS, Case

SPACE = Space(GenerationStrategy.maskgit(8))
COARSE, CURVES = CurveSpace(SPACE, TOKENS, 1), CurveSpace(SPACE, TOKENS)
CHOICES = Space(GenerationStrategy.maskgit(4), choices={"token_order": ("confidence", "halton")})


def test_coarse_numbers_are_level_and_slope() -> None:
    assert COARSE.names == (
        "mask_ratio_order_1",
        "remask_temperature_order_0",
        "remask_temperature_order_1",
        "sampling_temperature_order_0",
        "sampling_temperature_order_1",
        "guidance_scale_order_0",
        "guidance_scale_order_1",
    )
    assert len(CURVES.names) == len(Coordinates(SPACE, TOKENS)) == 30


@pytest.mark.parametrize("finest", [1, None])
@pytest.mark.parametrize("tokens", [TOKENS, None])
def test_a_vector_comes_back(tokens: int | None, finest: int | None) -> None:
    space = CurveSpace(SPACE, tokens, finest)
    rng = np.random.default_rng(0)
    for _ in range(10):
        vector = 0.4 + 0.2 * rng.random(len(space.names))
        strategy, _ = space.pair(vector)
        if tokens is None:
            assert space.holds(strategy)
        # Mask ratios that stand for whole tokens move their numbers a little.
        near = 0.3 if tokens else 1e-9
        assert space.vector_of(strategy, None) == pytest.approx(vector, abs=near)


def test_the_middle_is_a_strategy_of_constants() -> None:
    strategy, _ = COARSE.pair(np.full(len(COARSE.names), 0.5))
    assert len(set(np.round(strategy.sampling_temperature, 9))) == 1
    assert strategy.masked_counts(TOKENS)[:-1] == tuple(range(56, 0, -8))


def test_which_strategies_the_numbers_describe() -> None:
    assert all(map(CURVES.holds, first_strategies(SPACE, TOKENS).values()))
    assert not COARSE.holds(more_remask_noise(8))
    assert not COARSE.holds(published(8))
    given = CurveSpace(Space(more_remask_noise(8), frozen=("mask_ratio", "remask_temperature")))
    coarse = dataclasses.replace(given, finest=1)
    assert coarse.holds(more_remask_noise(8))
    bent = dataclasses.replace(more_remask_noise(8), sampling_temperature=(0.9,) * 7 + (0.91,))
    assert given.holds(bent)
    assert not coarse.holds(bent)


def test_a_choice_is_part_of_the_vector() -> None:
    space = CurveSpace(CHOICES, TOKENS, 1)
    halton = dataclasses.replace(CHOICES.start, token_order="halton")
    assert space.values_of(halton, None)["token_order"] == "halton"
    assert space.pair(space.vector_of(halton, None))[0].token_order == "halton"


def test_frozen_schedules_and_limits_hold() -> None:
    start = GenerationStrategy.maskgit(4)
    space = CurveSpace(Space(start, frozen=("mask_ratio",), max_forward_passes=5), TOKENS, 1)
    assert len(space.names) == 6
    strategy, _ = space.pair(np.ones(6))
    assert strategy.mask_ratio == start.mask_ratio
    assert strategy.forward_passes() == 5


def test_values_are_the_space_itself() -> None:
    assert described_by("values", SPACE, TOKENS) is SPACE
    training = Case("tpe", "training").space()
    assert described_by("values", training, None) is training


def test_what_has_no_curves_is_refused() -> None:
    with pytest.raises(ValueError, match="coordinates: expected values, coarse, curves, got 'fine"):
        described_by("fine", SPACE, TOKENS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="coordinates = coarse: only searches of generation"):
        described_by("coarse", Case("tpe", "training").space(), None)
