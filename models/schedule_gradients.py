"""The gradient of FID in a strategy's temperatures and guidance, from the images of one evaluation.

To first order FID changes by the influence of an image when the image becomes more probable, and
the score of an image says how its probability depends on the schedules (models.schedule_scores).
The mean of influence x score is the gradient of FID in all 3T - 1 values at once. Three things make
it accurate enough to search along it:

- An image is judged by the statistics of other images (cross-fitting, in FOLDS parts). On its own
  statistics its influence is up to twice too small, because FID at small n is biased and the images
  shape what they are compared with.
- The covariance of few images is shrunk towards that of the real images, because the influence
  depends on its inverse (Ledoit and Wolf 2004; their target is another one).
- What is known before a step, the class and a forecast of the image, is no news that the step
  could have brought: the influence that it predicts is taken off.

N: images, F: features per image, T: steps, P = 3T - 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nn_functional

from models.metrics.frechet import Statistics, product_of, slope_of
from models.metrics.metric import statistics_of
from search.gradient import Gradient, places_of
from search.seeds import derived_seed

HAVE_GRADIENTS = ("fid", "fid-infinity", "fid-leading")
"""The metrics whose gradient this is: that of FID on the features that the metric sees, less the
bias that it has at small n."""
FOLDS = 10
FEWEST_IMAGES = 2 * FOLDS
"""The fewest images of a gradient."""
FEWEST_OF_A_CLASS = 5
"""The fewest images with which a class predicts influence."""
SHRINKING = 3.0
"""The covariance of n images gets F / (F + SHRINKING x n) of that of the real images."""


@dataclass(frozen=True)
class ScoredImages:
    """The images of an evaluation as a gradient needs them.

    Attributes:
        features: their features, [N, F] float64.
        scores: their scores, [N, P] float64 (see models.schedule_scores.Scored).
        forecasts: the features of their forecasts before each of the last steps, [at most T, N, F]
            float64.
        classes: their classes, [N] int64; all 0 without classes.
    """

    features: Tensor
    scores: Tensor
    forecasts: Tensor
    classes: Tensor


def influences(real: Statistics, fake: Statistics, features: Tensor) -> Tensor:
    """Return the influence of images on FID; [...] for features [..., F], float64.

    d FID = 2 (m2 - m1) dm + tr((I - A) dC), with I - A of `models.metrics.frechet.slope_of`. In a
    direction in which the generated images hardly vary the derivative is unbounded, but an image of
    n changes the variance by about 1/n of its square: that much is added, in units of the mean
    eigenvalue, so that one rare pixel does not decide the gradient.

    Args:
        real: of the real images.
        fake: of generated images, other ones than these.
        features: of the images to judge.
    """
    values, vectors = torch.linalg.eigh(product_of(real, fake))
    inverse = (values.clamp(min=0) + values.mean() / (fake.images or 1)).rsqrt()
    slope = slope_of(real, inverse, vectors)
    shift = features - fake.mean
    quadratic = ((shift @ slope) * shift).sum(-1) - (slope * fake.covariance).sum()
    found: Tensor = shift @ (2 * (fake.mean - real.mean)) + quadratic
    return found


def gradient_of(images: ScoredImages, real: Statistics, seed: int = 0) -> Gradient:
    """Estimate the gradient of FID, with its errors, from the images of one evaluation.

    Args:
        images: at least FEWEST_IMAGES, with finite scores.
        real: the statistics of the real images.
        seed: of the division into folds.

    Raises:
        ValueError: there are fewer than FEWEST_IMAGES images.
    """
    count, width = images.scores.shape
    steps = (width + 1) // 3
    if count < FEWEST_IMAGES:
        raise ValueError(f"expected at least {FEWEST_IMAGES} images for a gradient, got {count}")
    influence, forecasts = _judged(images, real, seed)
    centred = images.scores - images.scores.mean(0)
    values, covariances = centred.new_empty(width), []
    known = _classes(images.classes)
    blind = [forecasts[:0]] * (steps - len(forecasts))
    for seen, places in zip([*blind, *forecasts[:, None]], places_of(steps), strict=True):
        terms = _news(influence, torch.cat([known, seen.T], 1))[:, None] * centred[:, places]
        values[places] = terms.mean(0)
        covariances.append((terms.T.cov() / count).tolist())
    return Gradient(
        tuple(values.tolist()), tuple(tuple(map(tuple, matrix)) for matrix in covariances)
    )


def _judged(images: ScoredImages, real: Statistics, seed: int) -> tuple[Tensor, Tensor]:
    """The influence of each image and of its forecasts, [N] and [at most T, N], on the statistics
    of the images in the other folds."""
    count = len(images.features)
    random = torch.Generator().manual_seed(derived_seed("folds", seed))
    folds = (torch.randperm(count, generator=random) % FOLDS).to(images.features.device)
    every = torch.cat([images.features[None], images.forecasts])
    found = every.new_empty(every.shape[:2])
    for fold in range(FOLDS):
        judged = folds == fold
        others = _shrunk(statistics_of(images.features[~judged]), real)
        found[:, judged] = influences(real, others, every[:, judged])
    return found[0], found[1:]


def _shrunk(fake: Statistics, real: Statistics) -> Statistics:
    """The statistics with the covariance shrunk towards the real one, brought to its variance."""
    width, count = len(fake.mean), fake.images or 1
    share = width / (width + SHRINKING * count)
    target = real.covariance * (fake.covariance.trace() / real.covariance.trace())
    return Statistics(fake.mean, torch.lerp(fake.covariance, target, share), count)


def _classes(classes: Tensor) -> Tensor:
    """Columns [N, C] that tell the classes apart, float64.

    Those with few images share a column: they would tell an image by itself.
    """
    columns = nn_functional.one_hot(classes).double()
    often = columns.sum(0) >= FEWEST_OF_A_CLASS
    rest = 1 - columns[:, often].sum(1, keepdim=True)
    every = torch.cat([columns[:, often], rest], 1)
    return every[:, every.any(0)]


def _news(influence: Tensor, known: Tensor) -> Tensor:
    """The influence [N] that is not predicted by what is known of an image before a step, [N, C]:
    what a linear fit to all other images leaves of it."""
    basis, _ = torch.linalg.qr(known)
    own_share = basis.square().sum(1).clamp(max=0.9)
    found: Tensor = (influence - basis @ (basis.T @ influence)) / (1 - own_share)
    return found
