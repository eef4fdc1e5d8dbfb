"""Measures images together with what a gradient needs of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.metrics.frechet import Statistics
from models.metrics.leading_fid import LeadingFID, along
from models.metrics.metric import Estimate
from models.precision import device
from models.sampling import LOWEST_TEMPERATURE
from models.schedule_gradients import FEWEST_IMAGES, HAVE_GRADIENTS, ScoredImages
from search.gradient import LOGARITHMIC
from search.schedules import SCHEDULES
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.evaluator import Measuring
from trials.objectives.generating import Generating
from trials.objectives.yardstick import Yardstick


def require_gradients(metric: str, space: Space, images: int) -> None:
    """Refuse a search in which there is no gradient.

    Args:
        metric: its name.
        space: what is searched.
        images: n.

    Raises:
        ValueError: the metric or a frozen temperature has no gradient, or there are too few images.
    """
    if metric not in HAVE_GRADIENTS:
        raise ValueError(
            f"gradients: expected one of the metrics {', '.join(HAVE_GRADIENTS)}, got {metric}"
        )
    if images < FEWEST_IMAGES:
        raise ValueError(f"gradients: expected n >= {FEWEST_IMAGES}, got n = {images}")
    start, frozen = space.start, set(SCHEDULES) - set(space.free)
    orders = space.choices.get("token_order", (start.token_order,))
    for name in max(map(_temperatures, orders), key=len):
        if name in frozen and min(start.schedule(name), default=1.0) < LOWEST_TEMPERATURE:
            raise ValueError(
                f"gradients: expected a frozen {name} above 0, got {start.schedule(name)}: "
                "where it is 0 choices jump as values change"
            )


def has_gradient(strategy: GenerationStrategy) -> bool:
    """Whether FID has a derivative in a strategy's values: where a temperature is 0 it jumps."""
    return all(
        min(strategy.schedule(name), default=1.0) >= LOWEST_TEMPERATURE
        for name in _temperatures(strategy.token_order)
    )


def _temperatures(order: str) -> tuple[str, ...]:
    """The temperatures that an order of tokens uses."""
    ordered = order.startswith("confidence")
    return LOGARITHMIC if ordered else ("sampling_temperature",)


def measure_scored(
    generating: Generating[Any],
    yardstick: Yardstick,
    strategy: GenerationStrategy,
    images: int,
    seed: int,
) -> tuple[Estimate, ScoredImages, Statistics]:
    """Measure the images that `Generating.images` gives, and score them.

    The features of the images and of their forecasts, at most 3 n F numbers of 8 bytes, stay in
    memory until the end. They and the statistics of the real images, which come last, are those
    that the metric sees.

    Args:
        generating: generates the images.
        yardstick: measures them.
        strategy: T <= L steps.
        images: n.
        seed: of the classes and all noise.

    Raises:
        ValueError: there are more steps than tokens.
    """
    evaluator, precision = yardstick.evaluator, generating.precision.features
    metric = evaluator.metric
    evaluator.to(device())
    measuring = Measuring(evaluator, (images,), generating.classes, precision)
    real = evaluator.real.statistics
    basis = metric.basis(real) if isinstance(metric, LeadingFID) else None

    def features_of(pixels: Tensor) -> Tensor:
        found = evaluator.features_of(pixels, precision).double()
        return found if basis is None else found @ basis

    def seen(tokens: Tensor) -> Tensor:
        return yardstick.seen(generating.decoded(tokens))

    estimates: list[Estimate] = []
    kept: list[ScoredImages] = []
    for drawn, made in generating.scored(strategy, images, seed):
        pixels = seen(made.tokens)
        estimates += measuring.add(pixels)
        forecasts = torch.stack([features_of(seen(tokens)) for tokens in made.forecasts])
        # Numbers that stand for texts are no classes.
        classes = drawn if generating.classes > 1 else torch.zeros_like(drawn)
        kept.append(ScoredImages(features_of(pixels), made.scores.double(), forecasts, classes))
    scored = ScoredImages(
        features=torch.cat([one.features for one in kept]),
        scores=torch.cat([one.scores for one in kept]),
        forecasts=torch.cat([one.forecasts for one in kept], 1),
        classes=torch.cat([one.classes for one in kept]),
    )
    return estimates[-1], scored, real if basis is None else along(real, basis)
