"""The space: strategy <-> vector, scales, bounds, frozen schedules."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from search.bound import Bound
from search.space import Space
from search.strategy import GenerationStrategy

START = GenerationStrategy.maskgit(3)


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("frozen", [(), ("mask_ratio",), ("guidance_scale", "remask_temperature")])
def test_vector_round_trip(steps: int, frozen: tuple[str, ...]) -> None:
    space = Space(GenerationStrategy.maskgit(steps), frozen=frozen)
    vector = space.to_vector(space.start)
    assert space.from_vector(vector) == space.start
    parameters = space.start.parameters()
    assert [parameters[name] for name in space.names] == [*vector]
    lengths = {len(space.low), len(space.high), len(space.log), len(space.schedule_of)}
    assert lengths == {len(vector)}


def test_frozen_schedules_keep_the_starts_values() -> None:
    space = Space(START, frozen=("guidance_scale", "mask_ratio"))
    assert space.frozen == ("mask_ratio", "guidance_scale")
    assert space.free == ("remask_temperature", "sampling_temperature")
    strategy = space.from_vector([5.0, 4.0, 3.0, 2.0, 1.0])
    assert strategy.remask_temperature == (5.0, 4.0)
    assert strategy.sampling_temperature == (3.0, 2.0, 1.0)
    assert strategy.mask_ratio == START.mask_ratio
    assert strategy.guidance_scale == START.guidance_scale


def test_guidance_floor_is_the_starts() -> None:
    start = GenerationStrategy((0.5,), (1.0,), (1.0, 1.0), (0.5, 1.0), guidance_floor=0.25)
    space = Space(start)
    assert space.from_vector(space.to_vector(start)).guidance_floor == 0.25


def test_unit_cube_round_trip() -> None:
    space = Space(START)
    unit = np.random.default_rng(0).random((20, 10))
    for row in unit:
        natural = space.from_unit(row)
        assert np.all((natural >= space.low) & (natural <= space.high))
        assert space.to_unit(natural) == pytest.approx(row)


def test_corners_of_the_unit_cube_are_the_bounds() -> None:
    space = Space(START)
    for below in (0.0, -0.5):
        assert space.from_unit(np.full(10, below)) == pytest.approx(space.low, rel=1e-12)
    for above in (1.0, 1.5):
        assert space.from_unit(np.full(10, above)) == pytest.approx(space.high, rel=1e-12)


def test_log_scales_halve_ratios() -> None:
    bounds = {
        "remask_temperature": Bound(0.01, 100.0, log=True),
        "guidance_scale": Bound(0.0, 4.0),
    }
    space = Space(GenerationStrategy.maskgit(2), bounds, frozen=("mask_ratio",))
    middle = dict(zip(space.names, space.from_unit(np.full(5, 0.5)), strict=True))
    assert middle["remask_temperature_0"] == pytest.approx(1.0)
    assert middle["guidance_scale_1"] == pytest.approx(2.0)


@pytest.mark.parametrize("length", [9, 11])
def test_vectors_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match=f"expected a vector of 10 free values, got {length}"):
        Space(START).from_vector([0.5] * length)


def test_vectors_that_no_strategy_may_have() -> None:
    with pytest.raises(ValueError, match=r"mask_ratio\[0\] = 1.5"):
        Space(START).from_vector([1.5] + [0.5] * 9)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"frozen": ("temperature",)}, "unknown schedule 'temperature'.*; known: mask_ratio, "),
        ({"bounds": {"cfg": Bound(0, 1)}}, "unknown schedule 'cfg'"),
        ({"bounds": {"mask_ratio": Bound(0, 1)}}, "mask_ratio: expected an upper bound < 1, got 1"),
        (
            {"bounds": {"sampling_temperature": Bound(1.5, 2)}},
            r"sampling_temperature_0 = 1.0 is outside its bounds \[1.5, 2",
        ),
        (
            {
                "frozen": (
                    "mask_ratio",
                    "remask_temperature",
                    "sampling_temperature",
                    "guidance_scale",
                )
            },
            "nothing to search",
        ),
    ],
)
def test_bad_spaces(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Space(START, **settings)


def test_nothing_to_search_in_empty_schedules() -> None:
    with pytest.raises(ValueError, match="nothing to search"):
        Space(GenerationStrategy.maskgit(1), frozen=("sampling_temperature", "guidance_scale"))


def test_a_frozen_start_may_lie_outside() -> None:
    space = Space(START, {"guidance_scale": Bound(2, 3)}, frozen=("guidance_scale",))
    assert space.from_vector(space.to_vector(START)) == START


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 1.0), (2.0, 1.0), (-0.1, 1.0), (0.0, math.inf), (math.nan, 1.0)]
)
def test_bad_bounds(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected bounds with 0 <= low < high <= 1e\\+09"):
        Bound(low, high)


def test_log_bounds_start_above_0() -> None:
    with pytest.raises(ValueError, match="a log scale cannot start at 0"):
        Bound(0.0, 1.0, log=True)


def test_json_tells_spaces_apart() -> None:
    spaces = [
        Space(START),
        Space(GenerationStrategy.maskgit(4)),
        Space(START, frozen=("mask_ratio",)),
        Space(START, {"guidance_scale": Bound(0, 5)}),
        Space(START, {"guidance_scale": Bound(0.1, 4, log=True)}),
    ]
    seen = [space.to_json() for space in spaces]
    assert all(seen[i] != seen[j] for i in range(5) for j in range(i))
    assert Space(START, {"guidance_scale": Bound(0, 4)}).to_json() == seen[0]


def test_a_limit_of_passes_drops_the_smallest_guidance_scales() -> None:
    space = Space(GenerationStrategy.maskgit(4), max_forward_passes=6)
    assert space.start.guidance_scale == (0.0, 0.0, 0.75, 1.0)
    vector = space.to_vector(dataclasses.replace(space.start, guidance_scale=(3.0, 0.5, 1.0, 0.1)))
    found = space.from_vector(vector)
    assert found.guidance_scale == (3.0, 0.0, 1.0, 0.0)
    assert found.forward_passes() == 6
    few = space.from_vector(
        space.to_vector(dataclasses.replace(found, guidance_scale=(0, 0, 0, 1)))
    )
    assert few.guidance_scale == (0, 0, 0, 1)
    assert space.to_json()["max_forward_passes"] == 6


def test_a_limit_of_passes_keeps_to_bounds_above_0() -> None:
    start = dataclasses.replace(GenerationStrategy.maskgit(4), guidance_floor=1e-4)
    space = Space(start, {"guidance_scale": Bound(1e-4, 4.0)}, max_forward_passes=6)
    assert space.start.guidance_scale == (1e-4, 1e-4, 0.75, 1.0)
    found = space.from_vector(np.where(space.high == 4.0, 2.0, space.start_vector))
    assert found.guidance_scale == (1e-4, 1e-4, 2.0, 2.0)
    assert found.forward_passes() == 6


@pytest.mark.parametrize(
    ("limit", "more", "line"),
    [
        (3, {}, "max_forward_passes = 3, but T = 4 steps needs 4"),
        (7, {"frozen": ["guidance_scale"]}, "the frozen guidance_scale needs 8"),
        (7, {"bounds": {"guidance_scale": Bound(0.1, 2.0)}}, "guidance_scale >= 0.1 at all"),
    ],
)
def test_a_limit_of_passes_that_no_strategy_meets(
    limit: int, more: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        Space(GenerationStrategy.maskgit(4), max_forward_passes=limit, **more)
