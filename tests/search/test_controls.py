"""The strategies that need no search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from search.controls import CONTROLS, best_control
from search.strategy import GenerationStrategy


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_is_a_strategy(name: str, steps: int) -> None:
    control = CONTROLS[name](steps)
    assert control.steps == {"one step": 1, "twice the steps": 2 * steps}.get(name, steps)
    if name != "published":
        guided = name in ("rule of thumb", "twice the steps")
        passes = 2 * control.steps if guided else control.steps
        assert control.forward_passes() == passes


def test_what_they_change() -> None:
    rule = GenerationStrategy.maskgit(8)
    assert CONTROLS["rule of thumb"](8) == rule
    chance = CONTROLS["random order"](8)
    assert chance.mask_ratio == rule.mask_ratio
    assert min(chance.remask_temperature) >= 1e5
    noisy = CONTROLS["more remask noise"](8)
    assert noisy.mask_ratio == rule.mask_ratio
    pairs = zip(noisy.remask_temperature, rule.remask_temperature, strict=True)
    assert all(found > 5 * usual for found, usual in pairs)


def test_the_published_one_is_that_of_the_public_file() -> None:
    exact = (0.9531645174140464, 0.8795409806037042, 0.7940230737075623, 0.745995860948045)
    exact += (0.6249785820461957, 0.407321956652571, 0.260658917067054)
    control = CONTROLS["published"](8)
    assert control.forward_passes() == 13
    same = replace(control, mask_ratio=exact)
    assert control.masked_counts(256) == same.masked_counts(256)
    assert CONTROLS["published"](4).forward_passes() < 8


def test_a_control_of_more_steps_is_no_rival() -> None:
    """It costs more than what a search at T may find."""

    @dataclass(frozen=True)
    class Tested:
        method: str
        value: float
        searched: bool = False

    twice, rule = Tested("twice the steps", 1.0), Tested("rule of thumb", 2.0)
    assert best_control([twice, rule]) is rule
    assert best_control([twice]) is None
