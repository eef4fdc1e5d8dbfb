from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from search.bound import Bound
from search.controls import CONTROLS
from search.public_yaml import from_public, read_public, to_public, write_public
from search.space import Space
from search.strategy import GenerationStrategy

PUBLISHED = {
    "manual_ratios": [
        0.9531645174140464,
        0.8795409806037042,
        0.7940230737075623,
        0.745995860948045,
        0.6249785820461957,
        0.407321956652571,
        0.260658917067054,
    ],
    "manual_temp": [
        2.404912789740805,
        2.477616274962803,
        1.191696577294597,
        0.7685444738649722,
        1.0673489052089495,
        0.9353720330515827,
        0.7843839537838292,
    ],
    "manual_samp_temp": [
        2.8999037830310685,
        1.867261830931786,
        1.1443729673819831,
        1.3796334226014182,
        1.4699896959810144,
        1.3760684112198358,
        1.7082165405200722,
        0.7133060703601533,
    ],
    "manual_cfg": [
        0.0001,
        0.0001,
        0.0001,
        0.9151274967591447,
        1.6160182878189675,
        1.1945509026838659,
        1.38322370140345,
        1.22678520936251,
    ],
}


def test_the_rule_of_thumb_is_maskgit_s() -> None:
    rule = GenerationStrategy.maskgit(4)
    assert rule.mask_ratio == pytest.approx([math.cos(math.pi / 8 * t) for t in (1, 2, 3)])
    assert rule.remask_temperature == (1.0, 0.75, 0.5)
    assert rule.sampling_temperature == (1.0,) * 4
    assert rule.guidance_scale == (0.25, 0.5, 0.75, 1.0)
    assert rule.forward_passes() == 8


@pytest.mark.parametrize("steps", [1, 2, 8, 64])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.999])
def test_counts_fall_to_one_and_end_at_none_whatever_the_ratios(steps: int, ratio: float) -> None:
    rest = (0.0,) * (steps - 1)
    strategy = GenerationStrategy((ratio,) * (steps - 1), rest, (1.0,) * steps, (0.0,) * steps)
    counts = (64, *strategy.masked_counts(64))
    assert len(counts) == steps + 1
    assert counts[-1] == 0
    assert all(b == max(1, min(a - 1, int(64 * ratio))) for a, b in pairwise(counts[:-1]))


def test_counts_are_floors_of_the_ratios() -> None:
    assert GenerationStrategy.maskgit(8).masked_counts(64) == (62, 59, 53, 45, 35, 24, 12, 0)
    with pytest.raises(ValueError, match="T = 65 steps, but the image has only 64 tokens"):
        GenerationStrategy.maskgit(65).masked_counts(64)


def test_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="steps = 0"):
        GenerationStrategy.maskgit(0)


@pytest.mark.parametrize(("old", "new"), [(8, 4), (16, 8), (16, 4), (8, 1)])
def test_the_rule_of_thumb_read_off_at_fewer_steps_is_its_own(old: int, new: int) -> None:
    read = GenerationStrategy.maskgit(old).with_steps(new)
    for ours, rule in zip(
        read.parameters().values(),
        GenerationStrategy.maskgit(new).parameters().values(),
        strict=True,
    ):
        assert ours == pytest.approx(rule)


@pytest.mark.parametrize(("old", "new"), [(1, 8), (4, 16), (8, 12), (3, 2)])
def test_other_steps_stay_within_the_old_values(old: int, new: int) -> None:
    start = GenerationStrategy.maskgit(old)
    read = start.with_steps(new)
    assert read.steps == new
    assert max(read.guidance_scale) <= max(start.guidance_scale)
    assert list(read.mask_ratio) == sorted(read.mask_ratio, reverse=True)


def test_guidance_at_or_below_the_floor_costs_nothing() -> None:
    strategy = GenerationStrategy((), (), (1.0,), (0.5,), guidance_floor=0.5)
    assert strategy.forward_passes() == 1


def test_the_published_strategy_takes_13_passes() -> None:
    strategy = from_public(PUBLISHED)
    assert strategy.guidance_floor == 1e-4
    assert strategy.forward_passes() == 13


def test_public_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "public.yaml"
    write_public(path, from_public(PUBLISHED))
    assert read_public(path) == from_public(PUBLISHED)
    assert to_public(from_public(PUBLISHED)) == PUBLISHED


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("manual_ratios: [0.5]", "lacks the field 'manual_temp'"),
        ("[1, 2]", "expected an object"),
        ("a: [", "not YAML"),
    ],
)
def test_public_yaml_that_is_not_one(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=line):
        read_public(path)


@pytest.mark.parametrize("control", CONTROLS.values())
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_controls_can_be_decoded(control: Callable[[int], GenerationStrategy], steps: int) -> None:
    strategy = control(steps)
    assert strategy.steps in (1, steps, 2 * steps)
    assert strategy.masked_counts(64)[-1] == 0


def test_a_space_maps_both_ways_and_keeps_what_is_frozen() -> None:
    space = Space(GenerationStrategy.maskgit(4), frozen=("guidance_scale",))
    assert len(space.names) == 4 * 4 - 2 - 4
    vector = space.to_vector(space.start)
    assert space.from_vector(vector) == space.start
    assert space.from_unit(space.to_unit(vector)) == pytest.approx(vector)
    moved = space.from_vector(space.from_unit(np.full(len(vector), 0.5)))
    assert moved.guidance_scale == space.start.guidance_scale
    assert moved.remask_temperature[0] == pytest.approx(math.sqrt(0.01 * 30))


def test_units_beyond_the_range_are_clipped() -> None:
    space = Space(GenerationStrategy.maskgit(3))
    size = len(space.names)
    assert space.from_unit(np.full(size, -1.0)) == pytest.approx(space.low)
    assert space.from_unit(np.full(size, 2.0)) == pytest.approx(space.high)


@pytest.mark.parametrize("steps", [2, 4, 8, 16, 64])
def test_the_rule_of_thumb_lies_within_the_default_bounds(steps: int) -> None:
    assert len(Space(GenerationStrategy.maskgit(steps)).names) == 4 * steps - 2


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Bound(1, 1), "got .1, 1."),
        (lambda: Bound(0, 1, log=True), "a log scale cannot start at 0"),
        (lambda: Space(GenerationStrategy.maskgit(2), {"ratio": Bound(0, 1)}), "unknown schedule"),
        (
            lambda: Space(GenerationStrategy.maskgit(2), {"mask_ratio": Bound(0, 1)}),
            "expected an upper bound < 1, got 1",
        ),
        (
            lambda: Space(
                GenerationStrategy.maskgit(1), frozen=("sampling_temperature", "guidance_scale")
            ),
            "nothing to search",
        ),
        (
            lambda: Space(GenerationStrategy.maskgit(2), {"guidance_scale": Bound(2, 3)}),
            "guidance_scale_0 = 0.5 is outside its bounds",
        ),
    ],
)
def test_a_space_that_cannot_be(make: Callable[[], object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
