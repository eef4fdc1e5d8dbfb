"""Checks that every objective has to pass, for the tests of your own.

Three lines of pytest run them all:

    from trials.testing import check_objective

    def test_mine() -> None:
        check_objective(Mine())
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import statistics

import numpy as np

from search.conformance import require
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS
from trials.objectives.description import describe
from trials.objectives.drawing import class_grid_of, film_of, sampled
from trials.objectives.measured import checked
from trials.objectives.objective import (
    Anchors,
    Grows,
    HasMetrics,
    MeasuresGradients,
    Objective,
    accepted,
)
from trials.objectives.pictures import Films, Samples, ShowsClasses

RELATIVE = 1e-6
"""How far the same measurement may differ when its sums are made in another order."""
SEEDS = 24
"""So many seeds determine a standard deviation to 15 %."""


def check_objective(
    objective: Objective, strategy: GenerationStrategy | None = None, images: int = 130
) -> None:
    """Run all checks on an objective.

    Args:
        objective: the objective, prepared if it needs to be.
        strategy: one that it can measure; by default MaskGIT's with 4 steps.
        images: n of an evaluation, at least 100.

    Raises:
        AssertionError: a check failed; the message is a sentence.
        ValueError: it lacks a method, or its description is not JSON.
    """
    accepted(type(objective).__name__, objective)
    strategy = (
        GenerationStrategy.maskgit(min(4, objective.tokens)) if strategy is None else strategy
    )
    found = objective.evaluate(strategy, images, 1)
    require(
        isinstance(found, Measurement),
        f"expected evaluate() to return a Measurement, got {type(found).__name__}",
    )
    check_repeats(objective, strategy, images)
    check_costs(objective, strategy, images)
    check_travels(objective, strategy, images)
    check_description(objective)
    check_metric(objective, strategy, images)
    check_grows(objective, strategy, images)
    check_gradients(objective, strategy, images)
    check_samples(objective, strategy)
    if isinstance(objective, Anchors):
        anchors = objective.anchors(images)
        require(
            all(isinstance(value, float) for value in anchors.values()),
            f"anchors: expected floats by name, got {anchors}",
        )
    check_standard_error(objective, strategy, images)


def check_repeats(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that the same strategy, n and seed give the same value, and another seed or n
    another."""
    first = objective.evaluate(strategy, images, 7).value
    objective.evaluate(strategy, images - 30, 1)
    again = objective.evaluate(strategy, images, 7).value
    require(first == again, f"the same strategy, n and seed gave {first} and then {again}")
    for what, other in (
        ("seed", objective.evaluate(strategy, images, 8)),
        ("n", objective.evaluate(strategy, images + 10, 7)),
    ):
        require(other.value != first, f"another {what} gave exactly the same value, {first}")


def check_costs(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that a measurement states the images, forward passes and seconds that it took."""
    guidance = tuple(0.0 for _ in strategy.guidance_scale[:-1])
    cheap = dataclasses.replace(strategy, guidance_scale=(*guidance, 1.0))
    try:
        found = objective.evaluate(cheap, images, 7)
    except ValueError:  # it cannot measure this strategy
        cheap, found = strategy, objective.evaluate(strategy, images, 7)
    require(
        found.images == images, f"expected images = {images} in the measurement, got {found.images}"
    )
    passes = cheap.forward_passes()
    require(
        found.forward_passes == passes,
        f"expected forward_passes = {passes} in the measurement, got {found.forward_passes}",
    )
    require(found.seconds >= 0, f"expected seconds >= 0 in the measurement, got {found.seconds}")
    require(found.finite, f"expected a finite value, got {found.value}")


def check_travels(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that a copy which is sent to a worker measures the same."""
    copy: Objective = pickle.loads(pickle.dumps(objective))
    here, there = (o.evaluate(strategy, images, 7).value for o in (objective, copy))
    require(here == there, f"it measures {here}, but a copy that was sent to a worker {there}")


def check_description(objective: Objective) -> None:
    """Check that its description is JSON, with the fields of a strategy file."""
    told = describe(type(objective).__name__, {}, objective)
    require(json.loads(json.dumps(told, allow_nan=False)) == told, f"{told} is not JSON")
    require(
        tuple(told["protocol"]) == PROTOCOL_FIELDS,
        f"expected the fields {', '.join(PROTOCOL_FIELDS)}, got {told['protocol']}",
    )


def check_metric(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that it measures in the metric that its description states, and so does the objective
    in that metric, if it has several."""
    said = describe(type(objective).__name__, {}, objective)["protocol"]["metric"]
    found = objective.evaluate(strategy, images, 7)
    require(
        found.metric == said,
        f"expected the metric of its description, {said!r}, got {found.metric!r}",
    )
    if isinstance(objective, HasMetrics):
        same = objective.in_metric(said).evaluate(strategy, images, 7)
        require(
            (same.metric, same.value) == (said, found.value),
            f"in_metric({said!r}) gives {same.metric} {same.value}, evaluate {found.value}",
        )


def check_grows(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that measuring at growing n gives the same values as measuring at once, if it can."""
    if not isinstance(objective, Grows):
        return
    rungs = (images - 50, images, 2 * images)
    found = list(objective.evaluate_growing(strategy, rungs, 7))
    said = tuple(measured.images for measured in found)
    require(said == rungs, f"expected measurements with {rungs} images, got {said}")
    for measured in found[1:]:
        whole = objective.evaluate(strategy, measured.images, 7).value
        require(
            abs(measured.value - whole) <= RELATIVE * abs(whole),
            f"at n = {measured.images}, evaluate_growing gives {measured.value}, evaluate {whole}",
        )


def check_gradients(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that it measures the same with a gradient, which has T steps, if it has any."""
    if not isinstance(objective, MeasuresGradients):
        return
    try:
        objective.check_gradients(Space(strategy), images)
    except ValueError:  # it has none for this metric, strategy or n
        return
    found = checked(objective.evaluate_with_gradient(strategy, images, 7), strategy, images)
    whole = objective.evaluate(strategy, images, 7).value
    require(
        abs(found.value - whole) <= RELATIVE * abs(whole),
        f"evaluate_with_gradient gives {found.value}, evaluate {whole}",
    )


def check_samples(objective: Objective, strategy: GenerationStrategy) -> None:
    """Check that it returns the images that it is asked for, and that they form as its film shows,
    if it shows any."""
    if isinstance(objective, Samples):
        found = len(sampled(objective, strategy, 3, 0))
        require(found == 3, f"expected 3 images from sample, got {found}")
    if isinstance(objective, ShowsClasses):
        grid = class_grid_of(objective, strategy, 3, 2, 0)
        rows, columns = grid.images.shape[:2]
        require(
            rows == 2 and columns <= 3,
            f"expected 2 rows and at most 3 columns from class_grid, got {rows} and {columns}",
        )
    if isinstance(objective, Films):
        film = film_of(objective, strategy, 3, 0)
        require(not film.masked[-1].any(), "expected no masked token at the end of a film")
        if isinstance(objective, ShowsClasses):
            same = np.array_equal(film.frames[-1], grid.images[0])
            require(same, "expected a film to end with the first row of class_grid")


def check_standard_error(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Check that a stated standard error is within half of the standard deviation over seeds."""
    found = [objective.evaluate(strategy, images, seed) for seed in range(SEEDS)]
    stated = [m.standard_error for m in found if m.standard_error is not None]
    if not stated:
        return
    require(
        len(stated) == SEEDS,
        f"{SEEDS - len(stated)} of {SEEDS} evaluations state no standard error",
    )
    said, seen = sum(stated) / SEEDS, statistics.stdev(m.value for m in found)
    require(
        0.5 * seen <= said <= 1.5 * seen,
        f"the stated standard error is {said:.3g}, but {SEEDS} seeds deviate by {seen:.3g}",
    )
