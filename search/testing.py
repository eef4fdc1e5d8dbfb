"""The conformance suite of optimisers: it checks the promises of `search.optimiser.Optimiser`.

    def test_my_optimiser() -> None:
        check_optimiser("my_package.my_module:Mine")

`CHECKS` holds the single checks, which are called with a `Case`.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from search.bound import Bound
from search.conformance import require
from search.dimensions import SearchSpace
from search.measurement import Failure, Measurement
from search.optimiser import (
    DONE,
    FIRST_SEARCH_SEED,
    WAIT,
    Budget,
    Optimiser,
    Probe,
    TrainingBudget,
)
from search.registry import Searches, default_settings, make_optimiser, searches_of
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy

IMAGES, TRAINING_STEPS, TOKENS = 100, 50, 64
Result = Measurement | Failure
Strategies = tuple[GenerationStrategy, TrainingStrategy | None]
Pick = Callable[[list[Probe]], int]
"""Chooses the index of the probe in flight whose result is told next."""


@dataclass(frozen=True)
class Case:
    """An optimiser on a small search.

    Attributes:
        name: the name of the optimiser, registered or `package.module:Class`.
        searches: what it searches here.
        steps: T of the generation strategies.
        evaluations: the number of evaluations that the budget pays for.
        keeps_bounds: whether it keeps to the bounds of the space; AutoNAT's published search does
            not.
    """

    name: str
    searches: Searches = "generation"
    steps: int = 2
    evaluations: int = 34
    keeps_bounds: bool = True

    def space(self) -> SearchSpace:
        """Make the space that it searches."""
        generation = Space(GenerationStrategy.maskgit(self.steps))
        if self.searches == "generation":
            return generation
        start = TrainingStrategy("beta", {"alpha": 2.0, "beta": 1.0})
        training = TrainingSpace(start, generation.start)
        return training if self.searches == "training" else JointSpace(training, generation)

    def budget(self, more: int = 0) -> Budget | TrainingBudget:
        """Make its budget, with `more` additional evaluations."""
        evaluations = self.evaluations + more
        if self.searches == "generation":
            return Budget(evaluations * IMAGES, IMAGES)
        return TrainingBudget(evaluations * TRAINING_STEPS, TRAINING_STEPS, IMAGES)

    def make(self, seed: int = 1, more: int = 0) -> Optimiser:
        """Make a fresh optimiser, with a budget of `more` additional evaluations."""
        return make_optimiser(self.name, self.space(), self.budget(more), seed, tokens=TOKENS)


def check_optimiser(name: str, *, evaluations: int = 34, steps: int = 2) -> None:
    """Check all that a search requires of an optimiser, on every kind of space that it searches.

    Args:
        name: a registered name, or `package.module:Class`.
        evaluations: the budget of each of a dozen small searches; it should pay for several of the
            optimiser's own steps.
        steps: T of the generation strategies.

    Raises:
        AssertionError: a check fails; the message says what was expected and what was found.
        ValueError: the name is unknown, or the class does not import.
    """
    for searches in searches_of(name):
        case = Case(name, searches, steps, evaluations)  # type: ignore[arg-type]
        for check in CHECKS.values():
            check(case)


def measured(value: float) -> Measurement:
    """Make a measurement with that value."""
    return Measurement(value, None, IMAGES, 1, 0.0, training_steps=TRAINING_STEPS)


def searched(case: Case, probe: Probe) -> dict[str, float | str]:
    """Return the values that the optimiser chose for a probe, by name."""
    training = None if probe.training is None else probe.training.strategy
    return case.space().values_of(probe.strategy, training)


def quadratic(case: Case, probe: Probe) -> Measurement:
    """Measure a quadratic with its minimum at 0.3 in every coordinate, and a little noise."""
    values = np.array(list(searched(case, probe).values()), dtype=np.float64)
    return measured(1 + float(np.sum((values - 0.3) ** 2)) + 1e-3 * (probe.seed % 7))


def patchy(case: Case, probe: Probe) -> Result:
    """Measure the quadratic, but let every fifth evaluation fail, in three different ways."""
    if probe.number % 5 == 1:
        ways = (Failure("out of memory"), measured(math.nan), measured(math.inf))
        return ways[probe.number // 5 % 3]
    return quadratic(case, probe)


def run(
    optimiser: Optimiser,
    measure: Callable[[Probe], Result],
    *,
    workers: int = 1,
    pick: Pick = lambda in_flight: 0,
) -> list[Probe]:
    """Run a search to its end, and return its probes in the order of asking.

    Args:
        optimiser: the optimiser.
        measure: measures a probe.
        workers: how many probes may be in flight.
        pick: chooses the probe whose result is told next.

    Raises:
        AssertionError: the optimiser waits while nothing is in flight, asks a probe after it was
            done, or answers anything but a Probe, WAIT or DONE.
    """
    asked: list[Probe] = []
    in_flight: list[Probe] = []
    while True:
        answer = optimiser.ask() if len(in_flight) < workers else WAIT
        if isinstance(answer, Probe):
            asked.append(answer)
            in_flight.append(answer)
        elif answer not in (WAIT, DONE):
            raise AssertionError(f"ask answered {answer!r}, expected a Probe, WAIT or DONE")
        elif in_flight:
            probe = in_flight.pop(pick(in_flight))
            optimiser.tell(probe, measure(probe))
        else:
            require(answer is DONE, "ask answered WAIT while no probe was in flight")
            require(optimiser.ask() is DONE, "ask answered DONE, and then something else")
            return asked


@functools.lru_cache(maxsize=64)
def plain_run(case: Case) -> list[Probe]:
    """Run the search with one worker and without failures, to compare other runs with it."""
    return run(case.make(), lambda probe: quadratic(case, probe))


def last(in_flight: list[Probe]) -> int:
    """Pick the probe that was asked last."""
    return len(in_flight) - 1


def straggler(in_flight: list[Probe]) -> int:
    """Pick every fourth probe only when nothing else is in flight."""
    return next((i for i, probe in enumerate(in_flight) if probe.number % 4), 0)


def _settings_have_defaults(case: Case) -> None:
    default_settings(case.name)
    given, plain = (
        make_optimiser(case.name, case.space(), case.budget(), 1, settings, TOKENS)
        for settings in (default_settings(case.name), None)
    )
    _require_same(
        run(given, lambda p: quadratic(case, p)),
        run(plain, lambda p: quadratic(case, p)),
        "giving its settings their default values changes what it asks",
    )


def _the_budget_is_kept(case: Case) -> None:
    asked = len(plain_run(case))
    require(
        0 < asked <= case.evaluations,
        f"expected 1 to {case.evaluations} evaluations, as its budget pays for, got {asked}",
    )


def _two_runs_ask_the_same(case: Case) -> None:
    np.random.seed(7)  # the state of global random generators must not matter
    random.seed(7)
    again = run(case.make(), lambda probe: quadratic(case, probe))
    _require_same(again, plain_run(case), "it is not deterministic given its seed and the results")


def _probes_are_numbered_and_seeded(case: Case) -> None:
    probes, start = plain_run(case), case.space().starts
    for i, probe in enumerate(probes):
        trained = None if probe.training is None else probe.training.strategy
        require(probe.number == i, f"probe {i} has the number {probe.number}")
        require(
            FIRST_SEARCH_SEED <= probe.seed < 2**32,
            f"probe {i} has the seed {probe.seed}, which is not one of a search: "
            "take seeds from search.optimiser.evaluation_seed",
        )
        require(probe.images == IMAGES, f"probe {i}: expected {IMAGES} images, got {probe.images}")
        require(
            (trained is not None) == (case.searches != "generation"),
            f"probe {i} has the training {trained}: take its training from `budget.training`",
        )
        if i == 0:
            require(
                _is_near(case, (probe.strategy, trained), start),
                f"expected the first probe to be the start of the space, {start[0]}, got "
                f"{probe.strategy}",
            )
    steps = [probe.step for probe in probes]
    require(
        steps[0] == 0 and steps == sorted(steps),
        "the steps of its probes do not start at 0, or decrease",
    )


def _is_near(case: Case, found: Strategies, expected: Strategies) -> bool:
    """Whether strategies are the same but for rounding, as after a journey to [0, 1] and back."""
    if (found[1] is None) != (expected[1] is None):
        return False
    space = case.space()
    return np.allclose(space.vector_of(*found), space.vector_of(*expected), rtol=1e-9, atol=1e-12)


def _strategies_are_within_the_bounds(case: Case) -> None:
    space = case.space()
    for probe in plain_run(case):
        require(
            probe.strategy.steps == case.steps,
            f"probe {probe.number}: expected T = {case.steps}, got T = {probe.strategy.steps}",
        )
        training = None if probe.training is None else probe.training.strategy
        vector = space.vector_of(probe.strategy, training)
        outside = np.flatnonzero((vector < space.low) | (vector > space.high))
        for i in outside if case.keeps_bounds else ():
            raise AssertionError(
                f"probe {probe.number} has {space.names[i]} = {vector[i]}, which is outside "
                f"[{space.low[i]}, {space.high[i]}]"
            )


def _narrow_bounds_and_frozen_schedules_hold(case: Case) -> None:
    if case.searches != "generation":
        return
    start = GenerationStrategy.maskgit(3)
    bounds = {"sampling_temperature": Bound(0.9, 1.1), "remask_temperature": Bound(0.3, 2.0)}
    space = Space(start, bounds, frozen=("mask_ratio",))
    budget = Budget(max(20, case.evaluations) * IMAGES, IMAGES)
    made = make_optimiser(case.name, space, budget, 0, tokens=TOKENS)
    for probe in run(made, lambda probe: measured(1 + probe.strategy.sampling_temperature[0])):
        require(
            probe.strategy.mask_ratio == start.mask_ratio,
            f"probe {probe.number} moves mask_ratio, which is frozen",
        )
        held = all(0.9 <= value <= 1.1 for value in probe.strategy.sampling_temperature)
        require(
            held or not case.keeps_bounds,
            f"probe {probe.number} leaves the bounds of sampling_temperature",
        )


def _choices_are_tried_or_refused(case: Case) -> None:
    if case.searches != "generation":
        return
    orders = ("confidence", "random")
    space = Space(GenerationStrategy.maskgit(case.steps), choices={"token_order": orders})
    try:
        made = make_optimiser(case.name, space, case.budget(), 0, tokens=TOKENS)
    except ValueError:
        return
    asked = run(made, lambda probe: measured(3.0 - orders.index(probe.strategy.token_order)))
    tried = {probe.strategy.token_order for probe in asked}
    require(
        tried == {*orders},
        f"expected probes with each value of the choice token_order, {', '.join(orders)}, or a "
        f"ValueError that refuses a space with choices, got only {', '.join(tried)}",
    )


def _order_of_results_is_irrelevant(case: Case) -> None:
    chance = random.Random(3)
    ways: Mapping[str, tuple[int, Pick]] = {
        "three workers": (3, lambda in_flight: 0),
        "four workers, the last told first": (4, last),
        "many workers and stragglers": (99, straggler),
        "many workers in a random order": (99, lambda found: chance.randrange(len(found))),
    }
    for way, (workers, pick) in ways.items():
        found = run(case.make(), lambda p: quadratic(case, p), workers=workers, pick=pick)
        _require_same(found, plain_run(case), f"it depends on when results arrive: {way}")


def _failures_are_survived(case: Case) -> None:
    def failing(workers: int, pick: Pick) -> list[Probe]:
        return run(case.make(more=3), lambda p: patchy(case, p), workers=workers, pick=pick)

    _require_same(failing(4, last), failing(1, last), "it depends on when failures arrive")


def _nothing_but_failures_is_survived(case: Case) -> None:
    for result in (Failure("node lost"), measured(math.nan)):
        run(case.make(), lambda probe, result=result: result)  # type: ignore[misc]


def _failure_and_nan_are_one(case: Case) -> None:
    def failing(result: Result) -> list[Probe]:
        return run(case.make(), lambda p: quadratic(case, p) if p.number % 2 else result)

    _require_same(
        failing(Failure("node lost")),
        failing(measured(math.nan)),
        "it distinguishes a failure from a value that is not finite, which a record does not",
    )


def _resumed_by_replay_is_not_interrupted(case: Case) -> None:
    whole = run(case.make(more=3), lambda p: patchy(case, p))
    half = whole[: len(whole) // 2]
    # The driver died with the last probe and two earlier ones in flight.
    lost = {probe.number for probe in (half[-1:] + half[-4:-2])}
    record = {p.number: patchy(case, p) for p in half if p.number not in lost}
    resumed = run(
        case.make(more=3),
        lambda p: record.get(p.number) or patchy(case, p),
        workers=4,
        pick=last,
    )
    _require_same(resumed, whole, "a search that is resumed by replaying its results differs")


def _a_probe_is_told_once(case: Case) -> None:
    optimiser = case.make()
    probe = optimiser.ask()
    if not isinstance(probe, Probe):
        raise AssertionError(f"expected a Probe as its first answer, got {probe!r}")
    _require_refusal(case.make(), probe, "a probe that it never asked for")
    optimiser.tell(probe, Failure("node lost"))
    _require_refusal(optimiser, probe, "a probe that it was told already")


def _require_refusal(optimiser: Optimiser, probe: Probe, what: str) -> None:
    try:
        optimiser.tell(probe, measured(3.0))
    except ValueError:
        return
    raise AssertionError(
        f"tell accepted {what}, expected a ValueError (search.ledger.Ledger raises it)"
    )


def _require_same(found: list[Probe], expected: list[Probe], what: str) -> None:
    for one, other in zip(found, expected, strict=False):
        require(one == other, f"{what}: expected probe {other.number} to be {other}, got {one}")
    require(
        len(found) == len(expected),
        f"{what}: expected {len(expected)} probes, got {len(found)}",
    )


CHECKS: Mapping[str, Callable[[Case], None]] = {
    check.__name__.removeprefix("_"): check
    for check in (
        _two_runs_ask_the_same,
        _settings_have_defaults,
        _the_budget_is_kept,
        _probes_are_numbered_and_seeded,
        _strategies_are_within_the_bounds,
        _narrow_bounds_and_frozen_schedules_hold,
        _choices_are_tried_or_refused,
        _order_of_results_is_irrelevant,
        _failures_are_survived,
        _nothing_but_failures_is_survived,
        _failure_and_nan_are_one,
        _resumed_by_replay_is_not_interrupted,
        _a_probe_is_told_once,
    )
}
"""All checks by name."""
