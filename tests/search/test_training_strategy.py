from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import truncnorm

from search import training_strategy
from search.bound import Bound
from search.training_strategy import DISTRIBUTIONS, Distribution, Ratios, TrainingStrategy

UNIFORMS = (np.arange(20_000) + 0.5) / 20_000
MIDDLE = {"alpha": 2.0, "beta": 5.0, "mean": 0.7, "deviation": 0.2}


def strategy(name: str) -> TrainingStrategy:
    return TrainingStrategy(name, {p: MIDDLE[p] for p in DISTRIBUTIONS.load(name).parameters})


@pytest.mark.parametrize("name", DISTRIBUTIONS.names())
def test_ratios_lie_in_0_to_1_and_keep_their_shape(name: str) -> None:
    ratios = strategy(name).mask_ratios(np.append(UNIFORMS, [0.0, 1 - 2**-53]).reshape(2, -1))
    assert ratios.shape == (2, 10_001)
    assert np.all((ratios >= 0) & (ratios <= 1))


@pytest.mark.parametrize(
    ("name", "values", "mean", "variance"),
    [
        ("beta", {"alpha": 12, "beta": 3}, 12 / 15, 12 * 3 / (15**2 * 16)),
        ("cosine", {}, 2 / math.pi, 0.5 - 4 / math.pi**2),
        ("uniform", {}, 0.5, 1 / 12),
        (
            "truncated-normal",
            {"mean": 0.9, "deviation": 0.3},
            *truncnorm.stats(-3, 1 / 3, loc=0.9, scale=0.3, moments="mv"),
        ),
    ],
)
def test_moments(name: str, values: dict[str, float], mean: float, variance: float) -> None:
    ratios = TrainingStrategy(name, values).mask_ratios(UNIFORMS)
    assert ratios.mean() == pytest.approx(mean, abs=1e-4)
    assert ratios.var() == pytest.approx(variance, rel=1e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS.names())
def test_json_both_ways(name: str) -> None:
    there = strategy(name).to_json()
    assert TrainingStrategy.from_json(there) == strategy(name)
    # Parameters of other distributions were null in earlier files.
    assert TrainingStrategy.from_json(dict.fromkeys(MIDDLE) | there) == strategy(name)


def test_as_people_write_it() -> None:
    assert str(TrainingStrategy("beta", {"alpha": 12, "beta": 3})) == "beta(alpha=12, beta=3)"
    assert str(TrainingStrategy("cosine")) == "cosine"


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("normal", {}, "mask_ratio_distribution = 'normal' is unknown; known: cosine, uniform"),
        (["beta"], {}, "mask_ratio_distribution = ['beta'] is unknown"),
        ("beta", {"alpha": 2.0}, "the beta distribution needs beta"),
        ("beta", {"alpha": 0, "beta": 1}, "alpha = 0 is not positive"),
        ("beta", {"alpha": -1.0, "beta": 1}, "alpha = -1.0 is negative"),
        ("beta", {"alpha": 1, "beta": math.nan}, "beta = nan is not finite"),
        ("beta", {"alpha": 1, "beta": math.inf}, "beta = inf is not finite"),
        ("beta", {"alpha": 1, "beta": "3"}, "beta = '3' is not a number"),
        ("truncated-normal", {"mean": 1.5, "deviation": 1}, "mean = 1.5 is outside [0, 1]"),
        ("truncated-normal", {"mean": 0.5, "deviation": 0}, "deviation = 0 is not positive"),
        ("cosine", {"alpha": 2.0}, "alpha = 2.0 is not a parameter of the cosine distribution"),
    ],
)
def test_what_cannot_be(name: Any, values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        TrainingStrategy(name, values)


@pytest.mark.parametrize("data", [None, [], {}, {"alpha": 12, "beta": 3}])
def test_json_that_is_none(data: Any) -> None:
    with pytest.raises(ValueError, match="training: expected an object"):
        TrainingStrategy.from_json(data)


def _power(uniforms: Ratios, exponent: float) -> Ratios:
    return np.asarray(uniforms**exponent)


POWER = Distribution({"exponent": Bound(0.1, 10.0, log=True)}, _power, {"exponent": 1.0})


def test_one_that_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_strategy.DISTRIBUTIONS, "_registered", {})
    training_strategy.DISTRIBUTIONS.register("power")(POWER)
    training_strategy.DISTRIBUTIONS.register("wrong")(math.sqrt)
    power = TrainingStrategy("power", {"exponent": 2})
    assert power.mask_ratios(UNIFORMS).mean() == pytest.approx(1 / 3, abs=1e-4)
    with pytest.raises(ValueError, match="wrong: expected a Distribution, got math:sqrt"):
        TrainingStrategy("wrong")
    with pytest.raises(ValueError, match="known: cosine, .*, power, wrong"):
        TrainingStrategy("other")
