"""Gradients as plain numbers, and in the coordinates of curves."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from search.bound import Bound, Vector
from search.controls import more_remask_noise
from search.coordinates import Coordinates
from search.curve_slopes import MeasuredGradient, slopes_of
from search.gradient import DIFFERENTIABLE, LOGARITHMIC, Gradient, checked_gradient
from search.space import Space
from search.strategy import GenerationStrategy

THREE = Gradient(
    tuple(float(i) for i in range(8)),
    (
        ((1.0, 0.1, 0.2), (0.1, 2.0, 0.3), (0.2, 0.3, 3.0)),
        ((4.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 6.0)),
        ((7.0, 0.5), (0.5, 8.0)),
    ),
)


def point(strategy: GenerationStrategy) -> Vector:
    parts = [np.array(strategy.schedule(name)) for name in DIFFERENTIABLE]
    logs = [
        np.log(part) if name in LOGARITHMIC else part
        for name, part in zip(DIFFERENTIABLE, parts, strict=True)
    ]
    return np.concatenate(logs)


def test_covariances_stand_at_the_derivatives_of_their_step() -> None:
    whole = THREE.covariance()
    assert whole.diagonal().tolist() == [1, 4, 7, 2, 5, 3, 6, 8]
    assert (whole[0, 3], whole[0, 5], whole[3, 5], whole[2, 7]) == (0.1, 0.2, 0.3, 0.5)
    assert whole[0, 1] == whole[2, 4] == 0
    np.testing.assert_array_equal(whole, whole.T)


def test_json_and_back() -> None:
    assert Gradient.from_json(json.loads(json.dumps(dataclasses.asdict(THREE)))) == THREE


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([1.0], "expected a Gradient, got"),
        (
            dataclasses.replace(THREE, values=(1.0,)),
            "expected 8 values and 3 covariances for T = 3",
        ),
        (dataclasses.replace(THREE, values=(float("nan"), *THREE.values[1:])), "is not finite"),
        (
            dataclasses.replace(THREE, covariances=THREE.covariances[::-1]),
            r"a covariance of shape \(3, 3\), got \(2, 2\)",
        ),
    ],
)
def test_what_is_no_gradient_is_refused(found: Any, said: str) -> None:
    assert checked_gradient(THREE, 3) == THREE
    with pytest.raises(ValueError, match=said):
        checked_gradient(found, 3)


@pytest.mark.parametrize(
    "space",
    [
        Space(more_remask_noise(5)),
        Space(more_remask_noise(5), {"sampling_temperature": Bound(0.5, 2.0)}, ("guidance_scale",)),
        Space(GenerationStrategy.maskgit(5), max_forward_passes=7),
    ],
)
def test_derivatives_in_coefficients_are_those_of_the_strategy(space: Space) -> None:
    coordinates = Coordinates(space, 64)
    rng = np.random.default_rng(0)
    x = coordinates.from_strategy(space.start) * 0.3 + rng.normal(size=len(coordinates)) * 0.02
    x[(coordinates.schedule == 3) & (coordinates.order < 2)] += 0.1  # keeps the order of guidance
    found = coordinates.derivatives(coordinates.to_strategy(x))
    step = 1e-5
    for place in range(len(coordinates)):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            ends.append(point(coordinates.to_strategy(moved)))
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found[:, place], expected, atol=1e-5)


def test_slopes_are_the_gradient_by_the_chain_rule() -> None:
    space = Space(more_remask_noise(3))
    coordinates = Coordinates(space, 64)
    x = coordinates.from_strategy(space.start)
    found = slopes_of(
        coordinates, [MeasuredGradient(x, space.start, THREE, 2.0, seed) for seed in (1, 2)]
    )
    rise = coordinates.derivatives(space.start)
    assert found.values.shape == (16,)  # 3T - 1 each; mask ratios have none
    np.testing.assert_allclose(
        found.directions[:8].T @ found.values[:8], 2 * rise.T @ THREE.values, atol=1e-9
    )
    np.testing.assert_allclose(
        found.directions[:8].T @ found.covariance[:8, :8] @ found.directions[:8],
        4 * rise.T @ THREE.covariance() @ rise,
        atol=1e-9,
    )
    assert np.all(found.covariance[:8, 8:] == 0)
    assert slopes_of(coordinates, []).values.shape == (0,)


def test_temperatures_of_0_do_not_move() -> None:
    space = Space(GenerationStrategy.maskgit(3), {"remask_temperature": Bound(0.0, 10.0)})
    cold = space.start.with_values({"remask_temperature": (1.0, 0.0)})
    found = Coordinates(space, 64).derivatives(cold)
    assert np.isfinite(found).all()
    assert found[3].any()
    assert not found[4].any()


def test_errors_under_one_seed_are_alike_where_strategies_are() -> None:
    space = Space(more_remask_noise(3))
    coordinates = Coordinates(space, 64)
    x = coordinates.from_strategy(space.start)
    far = x.copy()
    far[-1] += 0.3
    found = slopes_of(
        coordinates,
        [
            MeasuredGradient(at, space.start, THREE, 1.0, seed)
            for at, seed in ((x, 1), (x, 2), (x, 1), (far, 1))
        ],
    ).covariance
    parts = [slice(8 * i, 8 * i + 8) for i in range(4)]
    own = found[parts[0], parts[0]]
    rise = coordinates.derivatives(space.start)[:, 2:]
    np.testing.assert_allclose(own, rise.T @ THREE.covariance() @ rise, atol=1e-9)
    assert not found[parts[0], parts[1]].any()
    np.testing.assert_allclose(found[parts[0], parts[2]], own, atol=1e-9)
    np.testing.assert_allclose(found[parts[0], parts[3]], own / np.e, atol=1e-9)
    assert np.linalg.eigvalsh(found).min() > -1e-9
