"""Gradients of FID in a strategy's temperatures and guidance, from the evaluations themselves.

To first order FID changes by the influence of an image when the image becomes more probable, and
the score of an image says how its probability depends on the schedules (models.schedule_scores).
The mean of influence x score is the gradient of FID in all 3T - 1 values at once. Three things make
it accurate enough to descend along it:

- The influence of an image is that on the statistics of other evaluations. On its own statistics it
  is up to twice too small, because FID at small n is biased and the images shape what they are
  compared with.
- What is known before a step, the class and a forecast of the image, is no news that the step
  could have brought: the influence that it predicts is taken off.
- Images of earlier strategies count too, with weights that bring them to the present one. The
  weights come from their scores, so nothing is generated again.

A point holds the logs of the sampling and remask temperatures and the guidance scales, [P] with
P = 3T - 1. N: images, F: features per image, T: steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nn_functional

from models.metrics.frechet import Statistics

LARGEST_LOG_WEIGHT = 3.0
"""Bound of the log weights of images, so that none of them can outweigh all others."""


@dataclass(frozen=True)
class ScoredImages:
    """The images of an evaluation as a gradient needs them.

    Attributes:
        point: the point at which they were generated, [P] float64.
        features: their features, [N, F] float64.
        scores: their scores, [N, P] float64.
        forecasts: the features of their forecasts before each step, [T, N, F] float64.
        classes: their classes, [N] int64; all 0 without classes.
    """

    point: Tensor
    features: Tensor
    scores: Tensor
    forecasts: Tensor
    classes: Tensor


class Gradient(NamedTuple):
    """A gradient of FID at a point.

    Attributes:
        value: [P] float64, in the units of a point.
        information: the Fisher information of one image about the point, [P, P] float64. Half of
            d^T information d is how far (in KL divergence) a move d takes the images.
        images: how many images of this very point would be worth the same.
    """

    value: Tensor
    information: Tensor
    images: float


def influences(real: Statistics, fake: Statistics, features: Tensor) -> Tensor:
    """Return the influence of images on FID; [...] for features [..., F], float64.

    d FID = 2 (m2 - m1) dm + tr((I - A) dC) with A = C1^(1/2) (C1^(1/2) C2 C1^(1/2))^(-1/2)
    C1^(1/2). In a direction in which the generated images hardly vary the derivative is
    unbounded, but an image of n changes the variance by about 1/n of its square: that much is
    added, in units of the mean eigenvalue, so that one rare pixel does not decide the gradient.

    Args:
        real: of the real images.
        fake: of generated images, other ones than these.
        features: of the images to judge.
    """
    values, vectors = torch.linalg.eigh(real.root @ fake.covariance @ real.root)
    inverse = (values.clamp(min=0) + values.mean() / (fake.images or 1)).rsqrt()
    slope = -(real.root @ (vectors * inverse) @ vectors.T @ real.root)
    slope.diagonal().add_(1.0)
    shift = features - fake.mean
    quadratic = ((shift @ slope) * shift).sum(-1) - (slope * fake.covariance).sum()
    found: Tensor = shift @ (2 * (fake.mean - real.mean)) + quadratic
    return found


def gradient_at(point: Tensor, evaluations: Sequence[ScoredImages], real: Statistics) -> Gradient:
    """Estimate the gradient of FID at a point from evaluations at nearby points.

    Args:
        point: [P] float64.
        evaluations: at least two, with one shape of P and F.
        real: the statistics of the real images.

    Raises:
        ValueError: there are fewer than two evaluations.
    """
    if len(evaluations) < 2:
        raise ValueError(
            f"expected at least 2 evaluations, got {len(evaluations)}: the images of one are "
            "judged by the statistics of the others"
        )
    weights = [_weights(point, images) for images in evaluations]
    total = 0.0
    value, information = torch.zeros_like(point), point.new_zeros(len(point), len(point))
    for i, images in enumerate(evaluations):
        others = [j for j in range(len(evaluations)) if j != i]
        fake = _weighted_statistics(
            torch.cat([evaluations[j].features for j in others]),
            torch.cat([weights[j] for j in others]),
        )
        own = weights[i][:, None]
        centred = images.scores - (own * images.scores).mean(0)
        worth = float(own.sum() ** 2 / own.square().sum())
        news = _news(images, fake, real)[_steps(len(point))].T
        value += worth * (own * news * centred).mean(0)
        information += worth * (own * centred).T @ centred / len(centred)
        total += worth
    return Gradient(value / total, information / total, total)


def _weights(point: Tensor, images: ScoredImages) -> Tensor:
    """The weights [N], of mean 1, that bring images to another point, to second order."""
    logs = images.scores @ (point - images.point)
    logs = (logs - logs.mean() - logs.var() / 2).clamp(-LARGEST_LOG_WEIGHT, LARGEST_LOG_WEIGHT)
    found = logs.exp()
    return found / found.mean()


def _weighted_statistics(features: Tensor, weights: Tensor) -> Statistics:
    """Mean and covariance of weighted images, as of the n images that they are worth."""
    total = weights.sum()
    mean = weights @ features / total
    covariance = (features * weights[:, None]).T @ features / total - torch.outer(mean, mean)
    worth = float(total**2 / weights.square().sum())
    return Statistics(mean, covariance * (worth / (worth - 1)), round(worth))


def _news(images: ScoredImages, fake: Statistics, real: Statistics) -> Tensor:
    """The influence that is not predicted before each step, [T, N].

    It is what a linear fit to all other images, of the classes and the forecasts' influence, leaves
    of an image's influence.
    """
    reward = influences(real, fake, images.features)
    classes = nn_functional.one_hot(images.classes).to(reward)
    classes = classes[:, classes.any(0)]
    found = []
    for forecast in influences(real, fake, images.forecasts):
        basis, _ = torch.linalg.qr(torch.cat([classes, forecast[:, None]], 1))
        own_share = basis.square().sum(1).clamp(max=0.9)
        found.append((reward - basis @ (basis.T @ reward)) / (1 - own_share))
    return torch.stack(found)


def _steps(length: int) -> Tensor:
    """The step of each value of a point, [P]."""
    steps = (length + 1) // 3
    every = torch.arange(steps)
    return torch.cat([every, every[:-1], every])
