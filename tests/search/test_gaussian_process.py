"""The posterior against the formulas of Rasmussen and Williams, worked out densely."""

from __future__ import annotations

import numpy as np
import pytest

from search.gaussian_process import (
    JITTER,
    MEAN_VARIANCE,
    Array,
    Data,
    GaussianProcess,
    Slopes,
    fit,
    matern,
    squared_distances,
)

GROUPS = np.array([0, 0, 1])
THETA = np.log([0.8, 1.5, 1.2, 0.3, 0.4, 0.1])


def data(count: int = 30) -> Data:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(count, 3))
    seeds = np.arange(count) // 6
    noise = rng.normal(size=5)[seeds] * 0.3
    return Data(x, np.sin(2 * x[:, 0]) + x[:, 2] ** 2 + noise, seeds)


def posterior(known: Data, points: Array) -> tuple[Array, Array]:
    """Mean and covariance of g at points, without any shortcut."""
    scale = np.exp(-THETA[:2])[GROUPS]
    signal, seed, offset, noise = np.exp(2 * THETA[2:])

    def near(a: Array, b: Array) -> Array:
        return matern(squared_distances(a * scale, b * scale))

    same = known.seeds[:, None] == known.seeds[None]
    inner = (signal + seed * same) * near(known.x, known.x) + offset * same + MEAN_VARIANCE
    inner += (noise + JITTER) * np.eye(len(known.y))
    cross = signal * near(points, known.x) + MEAN_VARIANCE
    prior = signal * near(points, points) + MEAN_VARIANCE
    solved = np.linalg.solve(inner, cross.T)
    return cross @ np.linalg.solve(inner, known.y), prior - cross @ solved


@pytest.fixture
def points() -> Array:
    return np.random.default_rng(1).uniform(-1, 1, size=(7, 3))


def test_mean_and_deviation(points: Array) -> None:
    mean, deviation = GaussianProcess(data(), GROUPS, THETA).predict(points)
    expected, covariance = posterior(data(), points)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    np.testing.assert_allclose(deviation, np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_difference_knows_what_two_points_share(points: Array) -> None:
    model = GaussianProcess(data(), GROUPS, THETA)
    mean, covariance = posterior(data(), points)
    change, deviation = model.difference(points[0], points[1])
    assert change == pytest.approx(mean[0] - mean[1], rel=1e-6)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert deviation == pytest.approx(np.sqrt(variance), rel=1e-6)
    assert model.difference(points[0], points[0]) == (0.0, 0.0)


def test_the_bound_s_gradient(points: Array) -> None:
    model = GaussianProcess(data(), GROUPS, THETA)
    value, gradient = model.bound(points[0], 1.5)
    mean, deviation = model.predict(points[:1])
    assert value == pytest.approx(mean[0] - 1.5 * deviation[0])
    for i, step in enumerate(1e-5 * np.eye(3)):
        slope = (model.bound(points[0] + step, 1.5)[0] - model.bound(points[0] - step, 1.5)[0]) / (
            2e-5
        )
        assert gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_an_expected_evaluation_shares_its_seed_s_noise() -> None:
    """Under a seed that was met at the same place it is what was seen there."""
    known = data()
    model = GaussianProcess(known, GROUPS, THETA)
    seen = model.expected(known.x[4], int(known.seeds[4]))
    assert abs(seen - known.y[4]) < abs(model.expected(known.x[4], 999) - known.y[4])


def test_fit_finds_which_inputs_matter() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=(80, 3))
    known = Data(x, np.sin(4 * x[:, 2]), np.zeros(80, dtype=np.int64))
    theta = fit(known, GROUPS, None, 60)
    assert theta[0] > theta[1] + 1  # the first two inputs do nothing: their length is long


def test_each_value_left_out_is_predicted_from_the_others() -> None:
    known = data(12)
    found = GaussianProcess(known, GROUPS, THETA).left_out()
    for i in range(3):
        rest = np.arange(12) != i
        some = Data(known.x[rest], known.y[rest], known.seeds[rest])
        expected = GaussianProcess(some, GROUPS, THETA).expected(known.x[i], int(known.seeds[i]))
        assert known.y[i] - found[i] == pytest.approx(expected, rel=1e-5)


def sine_slopes(x: Array, error: float) -> Slopes:
    """The exact derivatives of the data's function in all three directions, said to have errors."""
    count = len(x)
    values = np.stack([2 * np.cos(2 * x[:, 0]), np.zeros(count), 2 * x[:, 2]], 1).ravel()
    covariance = error**2 * np.eye(3 * count)
    return Slopes(np.repeat(x, 3, axis=0), np.tile(np.eye(3), (count, 1)), values, covariance)


def test_derivatives_are_like_values_very_near_to_each_other() -> None:
    """Two values a small step apart tell what a derivative does."""
    step, place, direction = 1e-3, np.array([0.1, -0.2, 0.3]), np.array([0.6, 0.0, -0.8])
    seeds = np.arange(4)
    x = np.random.default_rng(2).uniform(-1, 1, size=(4, 3))
    known = Data(x, np.array([0.3, -0.5, 0.2, 0.9]), seeds)
    ends = place + np.outer([0.5, -0.5], step * direction)
    quiet = THETA.copy()
    quiet[-1] = np.log(1e-9)  # no noise but JITTER
    # The two ends have a seed of their own, whose offset both share.
    pair = Data(np.vstack([x, ends]), np.append(known.y, [2.0, 2.0]), np.append(seeds, [9, 9]))
    slopes = Slopes(place[None], direction[None], np.array([-0.7]), np.zeros((1, 1)))
    process = GaussianProcess(known, GROUPS, quiet, slopes)
    scale, signal = np.exp(-quiet[:2])[GROUPS], np.exp(2 * quiet[2])

    def near(a: Array, b: Array) -> Array:
        return np.asarray(signal * matern(squared_distances(a * scale, b * scale)))

    points = np.random.default_rng(3).uniform(-1, 1, size=(5, 3))
    difference = np.array([1.0, -1.0]) / step
    by_hand = near(points, pair.x[4:]) @ difference
    np.testing.assert_allclose(process._with_slopes(points)[:, 0], by_hand, rtol=1e-3, atol=1e-6)
    own = difference @ near(ends, ends) @ difference
    assert process._among_slopes()[0, 0] == pytest.approx(own, rel=0.01)


def test_derivatives_of_different_points_and_directions_share_what_they_should() -> None:
    x = np.random.default_rng(4).uniform(-1, 1, size=(3, 3))
    process = GaussianProcess(data(), GROUPS, THETA, sine_slopes(x, 0.0))
    found, step = process._among_slopes(), 1e-4
    for q, along in enumerate(np.tile(np.eye(3), (3, 1))):
        place = np.repeat(x, 3, axis=0)[q]
        ends = process._with_slopes(place + np.outer([step, -step], along))
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found[q], expected, rtol=1e-3, atol=1e-4)


def test_a_model_that_knows_derivatives_predicts_better_and_is_surer(points: Array) -> None:
    few = data(6)
    truth = np.sin(2 * points[:, 0]) + points[:, 2] ** 2
    blind = GaussianProcess(few, GROUPS, THETA)
    seeing = GaussianProcess(few, GROUPS, THETA, sine_slopes(few.x, 0.1))
    errors = []
    for process in (blind, seeing):
        mean, _ = process.predict(points)
        errors.append(float(np.std(mean - truth)))
    assert errors[1] < 0.8 * errors[0]
    assert np.all(seeing.predict(points)[1] < blind.predict(points)[1])
    useless = GaussianProcess(few, GROUPS, THETA, sine_slopes(few.x, 1e6))
    np.testing.assert_allclose(useless.predict(points)[0], blind.predict(points)[0], atol=1e-4)


def test_the_bound_has_its_gradient_with_derivatives_too(points: Array) -> None:
    process = GaussianProcess(data(), GROUPS, THETA, sine_slopes(data(4).x, 0.2))
    value, gradient = process.bound(points[0], 1.5)
    mean, deviation = process.predict(points[:1])
    assert value == pytest.approx(float(mean[0] - 1.5 * deviation[0]))
    for axis, step in enumerate(1e-5 * np.eye(3)):
        ends = [process.bound(points[0] + sign * step, 1.5)[0] for sign in (1, -1)]
        assert gradient[axis] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-5)
    assert len(process.left_out()) == len(data().y)
