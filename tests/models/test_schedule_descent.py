from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from models.metrics.frechet import Statistics, frechet_distance
from models.schedule_descent import Descent, point_of, roughness, strategy_at
from models.schedule_gradients import ScoredImages, gradient_at, influences
from search.controls import more_remask_noise
from search.strategy import GenerationStrategy

RULE = GenerationStrategy.maskgit(2)
FEATURES, PLACES = 3, 5
PUSH = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0.5, 0, 0]]).double()
REAL = Statistics(torch.tensor([0.6, -0.3, 0.4]).double(), torch.eye(FEATURES).double(), 1000)


def gaussian_images(point: Tensor, seed: int, images: int = 400) -> ScoredImages:
    """Images of which each value of the point moves the mean: their scores are known exactly."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn((images, FEATURES), generator=random).double()
    classes = torch.arange(images) % 2
    return ScoredImages(
        point=point,
        features=point @ PUSH + noise,
        scores=noise @ PUSH.T,
        forecasts=torch.randn((2, images, FEATURES), generator=random).double(),
        classes=classes,
    )


def of(features: Tensor) -> Statistics:
    return Statistics(features.mean(0), features.T.cov(), len(features))


def test_influences_are_the_change_of_fid_when_an_image_gets_more_weight() -> None:
    features = gaussian_images(torch.zeros(PLACES).double(), 0).features
    found = influences(REAL, of(features), features)
    weight = 1e-4
    for i in (0, 7):
        shift = features[i] - features.mean(0)
        fake = of(features)
        mean = fake.mean + weight * shift
        covariance = (1 - weight) * (fake.covariance + weight * torch.outer(shift, shift))
        change = frechet_distance(REAL, Statistics(mean, covariance, 400))
        slope = float(change - frechet_distance(REAL, fake)) / weight
        assert float(found[i]) == pytest.approx(slope, rel=0.01, abs=0.02)


def test_a_direction_that_never_varied_has_a_finite_influence() -> None:
    features = gaussian_images(torch.zeros(PLACES).double(), 0).features
    features[:, 2] = 0
    one = torch.tensor([[0.0, 0.0, 1.0]]).double()
    assert influences(REAL, of(features), one).abs() < 100


def test_gradients_are_those_of_fid_also_from_images_of_other_points() -> None:
    point = torch.tensor([0.1, 0.2, 0.0, -0.1, 0.0]).double()
    exact = 2 * PUSH @ (point @ PUSH - REAL.mean)
    for other in (point, point + 0.3):
        made = [gaussian_images(other, seed, 2000) for seed in range(8)]
        found = gradient_at(point, made, REAL)
        assert (found.value - exact).abs().max() < 0.25
        assert torch.allclose(found.information, PUSH @ PUSH.T, atol=0.15)
        assert 0 < found.images <= 16_001
    assert found.images < 16_000


def test_one_evaluation_has_no_others_to_be_judged_by() -> None:
    point = torch.zeros(PLACES).double()
    with pytest.raises(ValueError, match="at least 2 evaluations, got 1"):
        gradient_at(point, [gaussian_images(point, 0)], REAL)


def test_points_stand_for_strategies_within_bounds() -> None:
    start = dataclasses.replace(more_remask_noise(4), token_order="random")
    assert strategy_at(start, point_of(start)).mask_ratio == start.mask_ratio
    assert torch.allclose(point_of(strategy_at(start, point_of(start))), point_of(start))
    far = strategy_at(start, point_of(start) + 100)
    assert max(far.remask_temperature) == pytest.approx(30)
    assert far.token_order == "random"
    assert strategy_at(start, point_of(start) - 100).guidance_scale == (0.0,) * 4


def test_smooth_curves_are_the_cheapest() -> None:
    cost = roughness(4)
    level = torch.zeros(11).double()
    level[:4] = 0.5
    rough = level * torch.tensor([1, -1] * 5 + [1]).double()
    assert float(level @ cost @ level) == pytest.approx(1)
    assert float(rough @ cost @ rough) > 5


def test_a_descent_lowers_fid_and_its_result_is_a_strategy() -> None:
    descent = Descent(RULE, REAL)
    assert descent.result() == RULE
    distances = []
    for seed in range(25):
        made = gaussian_images(descent.point, seed, 200)
        distances.append(float((descent.point @ PUSH - REAL.mean).square().sum()))
        descent.tell(made)
    assert distances[1] == distances[0]
    assert distances[-1] < 0.2 * distances[0]
    assert descent.result().mask_ratio == RULE.mask_ratio


def test_a_single_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 steps"):
        Descent(GenerationStrategy.maskgit(1), REAL)
