"""Strategies: what is legal, the rule of thumb, counts, forward passes, another T."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from search.strategy import SCHEDULES, GenerationStrategy, TrainingStrategy

GOOD: dict[str, Any] = {
    "mask_ratio": (0.8, 0.4),
    "remask_temperature": (2.0, 1.0),
    "sampling_temperature": (1.0, 1.1, 0.9),
    "guidance_scale": (0.0, 0.5, 1.0),
}


def test_rule_of_thumb() -> None:
    strategy = GenerationStrategy.maskgit(4)
    assert strategy.mask_ratio == pytest.approx([0.92387953, 0.70710678, 0.38268343])
    assert strategy.remask_temperature == pytest.approx([1.0, 0.75, 0.5])
    assert strategy.sampling_temperature == (1.0, 1.0, 1.0, 1.0)
    assert strategy.guidance_scale == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert strategy.guidance_floor == 0
    assert len(GenerationStrategy.maskgit(8).parameters()) == 30


def test_one_step_is_legal_and_none_is_not() -> None:
    assert GenerationStrategy.maskgit(1) == GenerationStrategy((), (), (1.0,), (1.0,))
    with pytest.raises(ValueError, match="steps = 0"):
        GenerationStrategy.maskgit(0)
    with pytest.raises(ValueError, match="steps = 0"):
        GenerationStrategy.maskgit(3).with_steps(0)
    with pytest.raises(ValueError, match="sampling_temperature is empty"):
        GenerationStrategy((), (), (), ())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("value", "line"),
    [
        (math.nan, "nan is not finite"),
        (math.inf, "inf is not finite"),
        ("1.0", "'1.0' is not a number"),
        (None, "None is not a number"),
        (True, "True is not a number"),
    ],
)
def test_bad_values_name_the_field_and_the_value(schedule: str, value: object, line: str) -> None:
    values = [*GOOD[schedule]]
    values[1] = value
    with pytest.raises(ValueError, match=rf"^{schedule}\[1\] = {line}$"):
        GenerationStrategy(**{**GOOD, schedule: values})


@pytest.mark.parametrize(
    ("schedule", "value", "line"),
    [
        ("mask_ratio", 1.0, r"mask_ratio\[0\] = 1.0 is outside \[0, 1\)"),
        ("mask_ratio", -0.1, r"mask_ratio\[0\] = -0.1 is outside \[0, 1\)"),
        ("remask_temperature", -1.0, r"remask_temperature\[0\] = -1.0 is negative"),
        ("sampling_temperature", -1.0, r"sampling_temperature\[0\] = -1.0 is negative"),
        ("guidance_scale", -1e-9, r"guidance_scale\[0\] = -1e-09 is negative"),
    ],
)
def test_bad_ranges(schedule: str, value: float, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        GenerationStrategy(**{**GOOD, schedule: (value, *GOOD[schedule][1:])})


@pytest.mark.parametrize("schedule", ["mask_ratio", "remask_temperature", "guidance_scale"])
@pytest.mark.parametrize("change", [1, -1])
def test_wrong_lengths(schedule: str, change: int) -> None:
    right = len(GOOD[schedule])
    with pytest.raises(
        ValueError, match=rf"{schedule} has {right + change} values, but T = 3 .* need {right}"
    ):
        GenerationStrategy(**{**GOOD, schedule: (0.5,) * (right + change)})


@pytest.mark.parametrize("value", [0.5, "0.5", None, {"a": 1}])
def test_schedules_are_lists(value: object) -> None:
    with pytest.raises(ValueError, match="mask_ratio must be a list of numbers"):
        GenerationStrategy(**{**GOOD, "mask_ratio": value})


@pytest.mark.parametrize("floor", [-1.0, math.nan, "0"])
def test_bad_floors(floor: Any) -> None:
    with pytest.raises(ValueError, match="guidance_floor = "):
        GenerationStrategy(**GOOD, guidance_floor=floor)


def test_lists_and_arrays_are_as_good_as_tuples() -> None:
    as_arrays = GenerationStrategy(**{name: np.array(values) for name, values in GOOD.items()})
    assert as_arrays == GenerationStrategy(**GOOD)
    assert hash(as_arrays) == hash(GenerationStrategy(**GOOD))
    assert all(type(value) is float for value in as_arrays.mask_ratio)


def test_a_strategy_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GenerationStrategy(**GOOD).guidance_scale = (1.0,)  # type: ignore[misc]


def test_forward_passes() -> None:
    strategy = GenerationStrategy(**GOOD)
    assert strategy.forward_passes() == 3 + 2
    assert dataclasses.replace(strategy, guidance_floor=0.5).forward_passes() == 3 + 1
    assert dataclasses.replace(strategy, guidance_floor=0.4999).forward_passes() == 3 + 2
    assert dataclasses.replace(strategy, guidance_scale=(0, 0, 0)).forward_passes() == 3


@pytest.mark.parametrize(
    ("ratios", "tokens", "counts"),
    [
        ((0.9, 0.5, 0.25), 64, (57, 32, 16, 0)),
        ((0.5, 0.5, 0.9), 64, (32, 31, 30, 0)),  # ratios that do not fall: the counts do
        ((0.0, 0.0, 0.0), 64, (1, 1, 1, 0)),  # at least one stays masked, as published
        ((0.999, 0.999, 0.999), 4, (3, 2, 1, 0)),  # T = L
        ((), 64, (0,)),
        ((), 1, (0,)),
    ],
)
def test_masked_counts(ratios: tuple[float, ...], tokens: int, counts: tuple[int, ...]) -> None:
    steps = len(ratios) + 1
    strategy = GenerationStrategy(ratios, (0,) * (steps - 1), (1,) * steps, (0,) * steps)
    assert strategy.masked_counts(tokens) == counts


def test_more_steps_than_tokens() -> None:
    with pytest.raises(ValueError, match="T = 5 steps, but the image has only 4 tokens"):
        GenerationStrategy.maskgit(5).masked_counts(4)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 16])
def test_the_rule_of_thumb_is_its_own_at_another_t(steps: int) -> None:
    """Halving T reads the rule of thumb's own values; staying at T changes nothing."""
    fine = GenerationStrategy.maskgit(2 * steps)
    assert fine.with_steps(2 * steps) == fine
    coarse = fine.with_steps(steps)
    for schedule in SCHEDULES:
        expected = getattr(GenerationStrategy.maskgit(steps), schedule)
        assert getattr(coarse, schedule) == pytest.approx(expected, abs=1e-12)


def test_more_steps_follow_the_curves() -> None:
    strategy = GenerationStrategy((0.5,), (3.0,), (2.0, 1.0), (0.5, 1.5), guidance_floor=0.1)
    finer = strategy.with_steps(4)
    assert finer.mask_ratio == pytest.approx([0.75, 0.5, 0.25])
    assert finer.remask_temperature == pytest.approx([3.0, 3.0, 3.0])
    assert finer.sampling_temperature == pytest.approx([2.0, 1.5, 1.0, 1.0])
    assert finer.guidance_scale == pytest.approx([0.5, 0.5, 1.0, 1.5])
    assert finer.guidance_floor == 0.1


def test_one_step_grown_keeps_what_it_has() -> None:
    grown = GenerationStrategy((), (), (0.7,), (0.3,)).with_steps(3)
    assert grown.sampling_temperature == (0.7,) * 3
    assert grown.guidance_scale == (0.3,) * 3
    assert grown.mask_ratio == GenerationStrategy.maskgit(3).mask_ratio


def test_parameters_in_order() -> None:
    assert GenerationStrategy(**GOOD).parameters() == {
        "mask_ratio_0": 0.8,
        "mask_ratio_1": 0.4,
        "remask_temperature_0": 2.0,
        "remask_temperature_1": 1.0,
        "sampling_temperature_0": 1.0,
        "sampling_temperature_1": 1.1,
        "sampling_temperature_2": 0.9,
        "guidance_scale_0": 0.0,
        "guidance_scale_1": 0.5,
        "guidance_scale_2": 1.0,
    }


@pytest.mark.parametrize("steps", [1, 4])
def test_json_round_trip(steps: int) -> None:
    strategy = dataclasses.replace(GenerationStrategy.maskgit(steps), guidance_floor=0.3)
    assert GenerationStrategy.from_json(strategy.to_json()) == strategy


def test_cosine_mask_ratios() -> None:
    uniforms = np.array([0.0, 1 / 3, 0.5, 2 / 3])
    found = TrainingStrategy("cosine").mask_ratios(uniforms)
    assert found == pytest.approx([1.0, math.sqrt(3) / 2, math.sqrt(0.5), 0.5])


def test_beta_mask_ratios() -> None:
    uniforms = (np.arange(20_000) + 0.5) / 20_000
    found = TrainingStrategy("beta", 12, 3).mask_ratios(uniforms)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.mean() == pytest.approx(12 / 15, abs=1e-4)
    assert found.var() == pytest.approx(12 * 3 / (15**2 * 16), rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("uniform",), "mask_ratio_distribution = 'uniform' is unknown; known: cosine, beta"),
        (("cosine", 1.0), "alpha = 1.0: the cosine distribution has no alpha"),
        (("cosine", None, 1.0), "beta = 1.0: the cosine distribution has no beta"),
        (("beta",), "alpha = None: the beta distribution needs alpha > 0"),
        (("beta", 1.0), "beta = None"),
        (("beta", 0.0, 1.0), "alpha = 0.0"),
        (("beta", 1.0, -2.0), r"beta = -2.0 is negative"),
        (("beta", math.nan, 1.0), "alpha = nan is not finite"),
        (("beta", "2", 1.0), "alpha = '2' is not a number"),
    ],
)
def test_bad_training_strategies(arguments: tuple[Any, ...], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        TrainingStrategy(*arguments)


@pytest.mark.parametrize("strategy", [TrainingStrategy("cosine"), TrainingStrategy("beta", 12, 3)])
def test_training_strategy_round_trip(strategy: TrainingStrategy) -> None:
    assert TrainingStrategy.from_json(strategy.to_json()) == strategy
    with pytest.raises(ValueError, match="training has the unknown field 'gamma'"):
        TrainingStrategy.from_json({**strategy.to_json(), "gamma": 1})
