"""Choices and added schedules in strategies, spaces and optimisers."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from search import plugins
from search.bound import Bound
from search.coordinates import Coordinates
from search.measurement import Measurement
from search.optimiser import DONE, WAIT, Budget, Optimiser, Probe
from search.registry import OPTIMISERS, make_optimiser
from search.schedules import SCHEDULES, STANDARD, Schedule, register
from search.space import Space
from search.strategy import GenerationStrategy, schedules_of

RULE = GenerationStrategy.maskgit(4)
HALTON = dataclasses.replace(RULE, token_order="halton")
ORDERS = {"token_order": ("confidence", "halton")}


@pytest.fixture
def fifth(monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """A schedule as somebody's own file adds it; it is forgotten after the test."""
    monkeypatch.setattr(SCHEDULES, "_known", dict(SCHEDULES.items()))
    return register(
        Schedule(
            name="noise_scale",
            about="the scale of the noise on my logits",
            rule_of_thumb=lambda steps: (1.0,) * steps,
            bound=lambda steps: Bound(0.1, 10.0, log=True),
        )
    )


def run(optimiser: Optimiser) -> list[Probe]:
    """All probes of a search that is told that Halton's order is better."""
    probes, waiting = [], []
    while (asked := optimiser.ask()) is not DONE:
        if asked is not WAIT:
            probes.append(asked)
            waiting.append(asked)
            if len(waiting) < 3:
                continue
        for probe in waiting:
            strategy = probe.strategy
            value = 10 + sum(abs(s - 0.7) for s in strategy.sampling_temperature)
            value -= 2 * (strategy.token_order == "halton")
            passes = strategy.forward_passes()
            optimiser.tell(probe, Measurement(value, None, probe.images, passes, 0.1))
        waiting.clear()
    return probes


def test_what_is_the_default_is_not_written() -> None:
    assert "token_order" not in RULE.to_json()
    told = HALTON.to_json()
    assert told["token_order"] == "halton"
    assert "confidence" not in told
    assert GenerationStrategy.from_json(json.loads(json.dumps(told))) == HALTON
    assert HALTON.with_steps(7).token_order == "halton"
    assert HALTON.extras() == {"token_order": "token_order = 'halton'"}


@pytest.mark.parametrize("value", ["hilbert", None, 3, ["halton"]])
def test_an_unknown_value_is_refused(value: object) -> None:
    with pytest.raises(
        ValueError,
        match="token_order = .* is unknown; known: confidence, confidence-spread, random",
    ):
        GenerationStrategy.from_json({**RULE.to_json(), "token_order": value})


def test_a_choice_is_an_entry_of_a_vector() -> None:
    space = Space(RULE, choices=ORDERS)
    assert space.names[-1] == "token_order"
    assert len(space.names) == len(Space(RULE).names) + 1
    vector = space.to_vector(HALTON)
    assert vector[-1] == 1
    assert space.from_vector(vector) == HALTON
    assert space.from_vector(space.from_unit(np.ones(len(vector)))).token_order == "halton"
    assert space.to_json()["choices"] == {"token_order": ["confidence", "halton"]}
    assert "choices" not in Space(RULE).to_json()
    fixed = Space(HALTON)
    assert fixed.names == Space(RULE).names
    assert fixed.from_vector(fixed.start_vector) == HALTON


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ({"order": ("a", "b")}, "unknown choice 'order'; known: token_order, confidence"),
        ({"token_order": ("halton",)}, "expected two or more different values"),
        ({"token_order": ("halton", "halton")}, "expected two or more different values"),
        ({"token_order": ("halton", "hilbert")}, "token_order = 'hilbert' is unknown"),
        ({"token_order": ("halton", "random")}, "the start's token_order = 'confidence' is not am"),
    ],
)
def test_wrong_choices_are_refused(choices: dict[str, tuple[str, ...]], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Space(RULE, choices=choices)


def test_coordinates_hold_choices() -> None:
    coordinates = Coordinates(Space(RULE, choices=ORDERS), 64)
    point = coordinates.from_strategy(HALTON)
    assert point[coordinates.is_choice].tolist() == [0, 1]
    assert coordinates.to_strategy(point).token_order == "halton"
    assert len(coordinates.length_groups()) == len(point)
    assert len(coordinates.combinations()) == 2


@pytest.mark.parametrize("name", [n for n in OPTIMISERS if n not in ("gp", "nsgaii-passes")])
def test_every_optimiser_tries_the_values(name: str) -> None:
    """And those that learn settle on the better one."""
    space = Space(RULE, choices=ORDERS)
    probes = run(make_optimiser(name, space, Budget(6000, 100), 0, tokens=64))
    orders = [probe.strategy.token_order for probe in probes]
    assert set(orders) == {"confidence", "halton"}
    if name in ("coarse-to-fine", "tpe", "autonat-reference", "autonat-common-numbers"):
        assert orders[-10:].count("halton") >= 7


def test_a_search_of_choices_alone() -> None:
    space = Space(RULE, frozen=list(SCHEDULES), choices=ORDERS)
    probes = run(make_optimiser("autonat-reference", space, Budget(400, 100), 0))
    roles = ["base", "token_order=halton", "base", "token_order=confidence"]
    assert [probe.role for probe in probes] == roles
    with pytest.raises(ValueError, match="coarse-to-fine searches curves"):
        make_optimiser("coarse-to-fine", space, Budget(4000, 100), 0)


def test_a_fifth_schedule_is_one_registration(fifth: Schedule) -> None:
    assert RULE.schedule("noise_scale") == (1.0,) * 4
    assert "noise_scale" not in RULE.to_json()
    assert "noise_scale_0" not in RULE.parameters()
    louder = RULE.with_values({"noise_scale": (2.0, 1.0, 1.0, 1.0)})
    assert louder.parameters()["noise_scale_0"] == 2.0
    assert GenerationStrategy.from_json(json.loads(json.dumps(louder.to_json()))) == louder
    assert (
        louder.with_values({"noise_scale": (1.0,) * 4}) == RULE
    )  # its rule of thumb is nothing said
    assert louder.with_steps(2).schedule("noise_scale") == pytest.approx((1.0, 1.0))
    assert schedules_of([RULE, louder])[-1] == "noise_scale"
    assert schedules_of([RULE]) == RULE.schedules()
    assert louder.extras() == {"noise_scale": "a schedule noise_scale"}


def test_a_fifth_schedule_is_searched_where_it_has_bounds(fifth: Schedule) -> None:
    assert "noise_scale" not in Space(RULE).to_json()["bounds"]
    space = Space(RULE, {"noise_scale": Bound(0.5, 2.0, log=True)}, frozen=["mask_ratio"])
    assert space.names[-4:] == tuple(f"noise_scale_{i}" for i in range(4))
    moved = space.from_vector(space.from_unit(np.full(len(space.names), 0.75)))
    assert moved.schedule("noise_scale") == pytest.approx((2**0.5,) * 4)
    coordinates = Coordinates(space, 64)
    again = coordinates.to_strategy(coordinates.from_strategy(moved))
    assert again.schedule("noise_scale") == pytest.approx(moved.schedule("noise_scale"))
    probes = run(make_optimiser("coarse-to-fine", space, Budget(2000, 100), 0, tokens=64))
    assert any(probe.strategy.more for probe in probes)


def test_a_schedule_that_is_not_installed_is_named() -> None:
    told = {**RULE.to_json(), "noise_scale": [1.0] * 4}
    line = "generation has the unknown field 'noise_scale'; if it is a schedule of a package"
    with pytest.raises(ValueError, match=line):
        GenerationStrategy.from_json(told)


INSTALLED = Schedule(
    "shift", "of my logits", lambda steps: (0.0,) * steps, lambda steps: Bound(0.0, 1.0)
)


def test_a_package_adds_a_schedule_and_a_broken_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = "autonat.schedules"
    points = [
        EntryPoint("broken", "no.such.module:SHIFT", group),
        EntryPoint("shift", f"{__name__}:INSTALLED", group),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    known = type(SCHEDULES)(list(STANDARD.values()))  # type: ignore[call-arg]
    assert list(known) == [*STANDARD, "shift"]
    with pytest.raises(ValueError, match="schedule broken cannot be used: .*no.such.module"):
        known["broken"]
    assert known["shift"] is INSTALLED


def test_a_name_that_is_taken_is_refused(fifth: Schedule) -> None:
    with pytest.raises(ValueError, match="a schedule named noise_scale exists already"):
        register(dataclasses.replace(fifth, about="something else"))
    for name in ("guidance_floor", "steps", "token_order", "confidence"):
        with pytest.raises(ValueError, match=f"schedule {name}: a strategy has another field"):
            register(dataclasses.replace(fifth, name=name))
    with pytest.raises(ValueError, match="only built-in schedules may set standard"):
        register(dataclasses.replace(fifth, name="other", standard=True))
    register(dataclasses.replace(fifth, bound=lambda steps: Bound(0, 1)))  # its file, read again
