"""What every objective must do, as checks for the tests of your own.

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

from search.strategy import GenerationStrategy
from search.strategy_file import PROTOCOL_FIELDS
from trials.objectives.objective import (
    Anchors,
    Grows,
    Objective,
    Samples,
    accepted,
    describe,
    sampled,
)

RELATIVE = 1e-6
"""How far two ways of the same measurement may differ: sums in another order."""
SEEDS = 24
"""They know a spread to 15 %."""


def check_objective(
    objective: Objective, strategy: GenerationStrategy | None = None, images: int = 130
) -> None:
    """Run every check below on an objective, which is prepared if it has to be.

    Args:
        objective: it.
        strategy: that it can measure; by default MaskGIT's of 4 steps.
        images: n of an evaluation, at least 100.

    Raises:
        AssertionError: what it does not do, in a sentence.
        ValueError: it lacks a method, or describes itself in what is not JSON.
    """
    accepted(type(objective).__name__, objective)
    strategy = (
        GenerationStrategy.maskgit(min(4, objective.tokens)) if strategy is None else strategy
    )
    check_repeats(objective, strategy, images)
    check_costs(objective, strategy, images)
    check_travels(objective, strategy, images)
    check_description(objective)
    check_metric(objective, strategy, images)
    if isinstance(objective, Grows):
        check_grows(objective, strategy, images)
    if isinstance(objective, Samples):
        check_samples(objective, strategy)
    if isinstance(objective, Anchors):
        found = objective.anchors(images)
        assert all(isinstance(value, float) for value in found.values()), (
            f"anchors gave {found}, which are not floats by name"
        )
    check_standard_error(objective, strategy, images)


def check_repeats(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Same strategy, n and seed: same number, whatever was measured in between."""
    first = objective.evaluate(strategy, images, 7).value
    objective.evaluate(strategy, images - 30, 1)
    again = objective.evaluate(strategy, images, 7).value
    assert first == again, f"the same strategy, n and seed gave {first} and then {again}"
    for what, other in (
        ("seed", objective.evaluate(strategy, images, 8)),
        ("n", objective.evaluate(strategy, images + 10, 7)),
    ):
        assert other.value != first, f"another {what} gave the very same number, {first}"


def check_costs(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """A measurement says what it was of, and what it cost."""
    guidance = tuple(0.0 for _ in strategy.guidance_scale[:-1])
    cheap = dataclasses.replace(strategy, guidance_scale=(*guidance, 1.0))
    try:
        found = objective.evaluate(cheap, images, 7)
    except ValueError:  # it knows other strategies
        cheap, found = strategy, objective.evaluate(strategy, images, 7)
    assert found.images == images, f"{images} images were asked for, {found.images} were said"
    passes = cheap.forward_passes()
    assert found.forward_passes == passes, (
        f"a strategy of {passes} forward passes was said to cost {found.forward_passes}"
    )
    assert found.seconds >= 0, f"an evaluation was said to take {found.seconds} seconds"
    assert found.finite, f"the value is {found.value}"


def check_travels(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """A copy that is sent to a worker measures the same."""
    copy: Objective = pickle.loads(pickle.dumps(objective))
    here, there = (o.evaluate(strategy, images, 7).value for o in (objective, copy))
    assert here == there, f"it measures {here}, and a copy that was sent to a worker {there}"


def check_description(objective: Objective) -> None:
    """It describes itself in JSON, with fields that a strategy file has."""
    told = describe(type(objective).__name__, {}, objective)
    assert json.loads(json.dumps(told, allow_nan=False)) == told, f"{told} is not JSON"
    assert tuple(told["protocol"]) == PROTOCOL_FIELDS, f"{told['protocol']} has other fields"


def check_metric(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """It measures in the metric that its description says."""
    said = describe(type(objective).__name__, {}, objective)["protocol"]["metric"]
    found = objective.evaluate(strategy, images, 7).metric
    assert found == said, f"its description says the metric {said!r}, but it measured {found!r}"


def check_grows(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """At growing n it measures what it measures at once."""
    assert isinstance(objective, Grows)
    rungs = (images - 50, images, 2 * images)
    found = list(objective.evaluate_growing(strategy, rungs, 7))
    said = tuple(measured.images for measured in found)
    assert said == rungs, f"rungs of {rungs} images were asked for, {said} were measured"
    for measured in found[1:]:
        whole = objective.evaluate(strategy, measured.images, 7).value
        assert abs(measured.value - whole) <= RELATIVE * abs(whole), (
            f"at n = {measured.images}, growing gives {measured.value}, and evaluate {whole}"
        )


def check_samples(objective: Objective, strategy: GenerationStrategy) -> None:
    """It shows as many images as it is asked for."""
    assert isinstance(objective, Samples)
    found = len(sampled(objective, strategy, 3, 0))
    assert found == 3, f"3 images were asked for, sample returned {found}"


def check_standard_error(objective: Objective, strategy: GenerationStrategy, images: int) -> None:
    """Where it states a standard error, that is the spread of repetitions, within a half."""
    found = [objective.evaluate(strategy, images, seed) for seed in range(SEEDS)]
    stated = [m.standard_error for m in found if m.standard_error is not None]
    if not stated:
        return
    assert len(stated) == SEEDS, f"{SEEDS - len(stated)} of {SEEDS} evaluations state no error"
    said, seen = sum(stated) / SEEDS, statistics.stdev(m.value for m in found)
    assert 0.5 * seen <= said <= 1.5 * seen, (
        f"the standard error is said to be {said:.3g}; {SEEDS} seeds spread by {seen:.3g}"
    )
