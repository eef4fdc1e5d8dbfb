"""The conformance suite of the ask/tell face: every registered optimiser must pass it."""

from __future__ import annotations

import functools
import math
import random
import subprocess
import sys
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from search.bound import Bound
from search.first_strategies import first_strategies
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
from search.optimisers.replicates import Replicates
from search.registry import (
    OPTIMISERS,
    PARETO,
    SAMPLERS,
    TRAINING_OPTIMISERS,
    default_settings,
    make_optimiser,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import TrainingSpace
from search.training_strategy import TrainingStrategy

IMAGES = 100
OWN_CLAMPS = ("autonat-reference", "autonat-common-numbers")
"""Optimisers that keep to limits of their own in place of the space's bounds."""
TRAINING = 0
"""In place of T: the optimiser searches training strategies."""
TRAINING_STEPS = 50
CASES = [(name, steps) for name in OPTIMISERS for steps in (2, 4) if (name, steps) != ("gp", 4)]
CASES += [(name, TRAINING) for name in TRAINING_OPTIMISERS if name != "gp"]
"""Optimisers and T. Optuna's Gaussian process is slow: once is enough."""

Result = Measurement | Failure
Pick = Callable[[list[Probe]], int]
"""Which of the probes in flight is told next."""

each_case = pytest.mark.parametrize(("name", "steps"), CASES)
each_name = pytest.mark.parametrize("name", OPTIMISERS)


def space_of(steps: int) -> Space | TrainingSpace:
    if steps == TRAINING:
        start = TrainingStrategy("beta", {"alpha": 2.0, "beta": 1.0})
        return TrainingSpace(start, GenerationStrategy.maskgit(2))
    return Space(GenerationStrategy.maskgit(steps))


def budget_of(steps: int, evaluations: int) -> Budget | TrainingBudget:
    if steps == TRAINING:
        return TrainingBudget(evaluations * TRAINING_STEPS, TRAINING_STEPS, IMAGES)
    return Budget(evaluations * IMAGES, IMAGES)


def evaluations(name: str, steps: int, failed: int = 0) -> int:
    """Three gradient steps, two generations, a Gaussian process past its random start (which
    takes 10 results that did not fail)."""
    return 14 + failed if name == "gp" else max(34, 3 * (4 * steps - 1) + 2)


def make(name: str, steps: int, seed: int = 1, failed: int = 0) -> Optimiser:
    budget = budget_of(steps, evaluations(name, steps, failed))
    return make_optimiser(name, space_of(steps), budget, seed, tokens=64)


def measured(fid: float) -> Measurement:
    return Measurement(fid, None, IMAGES, 1, 0.0, training_steps=TRAINING_STEPS)


def searched(probe: Probe) -> dict[str, float]:
    """The values that the optimiser chose."""
    return (probe.training.strategy if probe.training else probe.strategy).parameters()


def quadratic(probe: Probe) -> Result:
    """Lowest at 0.3 in every coordinate; the evaluation's seed adds a little noise."""
    values = np.array(list(searched(probe).values()))
    return measured(1 + float(np.sum((values - 0.3) ** 2)) + 1e-3 * (probe.seed % 7))


def patchy(probe: Probe) -> Result:
    """The quadratic, but one evaluation in five fails in one way or another."""
    if probe.number % 5 == 1:
        ways = (Failure("out of memory"), measured(math.nan), measured(math.inf))
        return ways[probe.number // 5 % 3]
    return quadratic(probe)


def run(
    optimiser: Optimiser,
    measure: Callable[[Probe], Result] = quadratic,
    *,
    workers: int = 1,
    pick: Pick = lambda in_flight: 0,
) -> list[Probe]:
    """Search to the end with so many workers; the probes in the order of asking."""
    asked: list[Probe] = []
    in_flight: list[Probe] = []
    while True:
        answer = optimiser.ask() if len(in_flight) < workers else WAIT
        if isinstance(answer, Probe):
            asked.append(answer)
            in_flight.append(answer)
        elif in_flight:
            probe = in_flight.pop(pick(in_flight))
            optimiser.tell(probe, measure(probe))
        else:
            assert answer is DONE, "WAIT with nothing in flight"
            assert optimiser.ask() is DONE
            return asked


@functools.cache
def plain_run(name: str, steps: int) -> list[Probe]:
    """One worker, nothing fails: what the other runs are compared with."""
    return run(make(name, steps))


@each_case
def test_budget_is_kept_and_used(name: str, steps: int) -> None:
    asked, paid = len(plain_run(name, steps)), evaluations(name, steps)
    unit = 4 * steps - 1 if name in OWN_CLAMPS else 1
    assert paid - unit < asked <= paid or (name == "autonat-greedy" and 8 < asked < paid)


@each_name
def test_budget_below_one_batch_is_refused(name: str) -> None:
    space = space_of(3)
    need = IMAGES * (1 + 10 if name in OWN_CLAMPS else 8 if name == "coarse-to-fine" else 1)
    make_optimiser(name, space, Budget(need, IMAGES), 0, tokens=64)
    with pytest.raises(ValueError, match=rf"budget = {need - 1} images.*\b{need}\b"):
        make_optimiser(name, space, Budget(need - 1, IMAGES), 0, tokens=64)


@each_case
def test_two_runs_ask_the_same(name: str, steps: int) -> None:
    plain = plain_run(name, steps)
    np.random.seed(7)  # A generator that belongs to everybody must not matter.
    random.seed(7)
    assert run(make(name, steps)) == plain


@each_name
def test_another_seed_asks_something_else(name: str) -> None:
    assert run(make(name, 2, seed=2))[1:] != plain_run(name, 2)[1:]


@each_case
def test_probes_are_numbered_seeded_and_start_at_the_start(name: str, steps: int) -> None:
    probes = plain_run(name, steps)
    assert [probe.number for probe in probes] == [*range(len(probes))]
    start = space_of(steps).start
    assert (probes[0].training.strategy if probes[0].training else probes[0].strategy) == start
    assert all(FIRST_SEARCH_SEED <= probe.seed < 2**32 for probe in probes)
    steps_asked = [probe.step for probe in probes]
    assert steps_asked[0] == 0
    assert steps_asked == sorted(steps_asked)
    assert all(probe.images == IMAGES for probe in probes)


@each_case
def test_strategies_are_within_the_bounds(name: str, steps: int) -> None:
    space = space_of(steps)
    for probe in plain_run(name, steps):
        assert probe.strategy.steps == (steps or 2)
        assert (probe.training is not None) == (steps == TRAINING)
        if name not in OWN_CLAMPS:
            vector = np.array(list(searched(probe).values()))
            assert np.all(vector >= space.low)
            assert np.all(vector <= space.high)


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != PARETO])
def test_narrow_bounds_and_frozen_schedules_hold(name: str) -> None:
    start = GenerationStrategy.maskgit(3)
    bounds = {"sampling_temperature": Bound(0.9, 1.1), "remask_temperature": Bound(0.3, 2.0)}
    space = Space(start, bounds, frozen=("mask_ratio", "guidance_scale"))
    probes = run(make_optimiser(name, space, Budget(13 * IMAGES, IMAGES), 0, tokens=64))
    assert len({probe.strategy for probe in probes}) > 5
    for probe in probes:
        assert probe.strategy.mask_ratio == start.mask_ratio
        assert probe.strategy.guidance_scale == start.guidance_scale
        if name not in OWN_CLAMPS:
            assert all(0.9 <= value <= 1.1 for value in probe.strategy.sampling_temperature)
            assert all(0.3 <= value <= 2.0 for value in probe.strategy.remask_temperature)


@each_name
def test_what_is_told_matters(name: str) -> None:
    """It matters to whoever learns; random and quasi-random search must not change."""

    def reversed_(probe: Probe) -> Result:
        result = quadratic(probe)
        assert isinstance(result, Measurement)
        return measured(-result.value)

    learns = name not in ("random", "qmc")
    assert (run(make(name, 2), reversed_) != plain_run(name, 2)) == learns


def last(in_flight: list[Probe]) -> int:
    return len(in_flight) - 1


def straggler(in_flight: list[Probe]) -> int:
    """Every fourth probe is told only when nothing else is in flight."""
    return next((i for i, probe in enumerate(in_flight) if probe.number % 4), 0)


def shuffled() -> Pick:
    rng = random.Random(3)
    return lambda in_flight: rng.randrange(len(in_flight))


@each_case
@pytest.mark.parametrize(
    ("workers", "pick"),
    [(3, lambda in_flight: 0), (4, last), (99, straggler), (99, shuffled())],
    ids=["in order", "reversed", "delayed", "shuffled"],
)
def test_order_of_results_is_irrelevant(name: str, steps: int, workers: int, pick: Pick) -> None:
    assert run(make(name, steps), workers=workers, pick=pick) == plain_run(name, steps)


def with_controls_first(name: str, space: Space | None = None) -> Optimiser:
    """Of 20 evaluations, the controls among them."""
    space = space or Space(GenerationStrategy.maskgit(2))
    return make_optimiser(name, space, Budget(20 * IMAGES, IMAGES), 1, None, 64, True)


@each_name
def test_controls_come_first_and_are_the_same_for_all(name: str) -> None:
    first = first_strategies(Space(GenerationStrategy.maskgit(2)), 64)
    assert [*first] == ["start", "random order", "more remask noise", "published"]
    probes = run(with_controls_first(name), patchy, workers=4, pick=last)
    assert [probe.strategy for probe in probes[:4]] == [*first.values()]
    assert probes[0].role == "start"
    # coarse-to-fine always begins with them, as part of its design.
    control = "design" if name == "coarse-to-fine" else "control"
    assert {probe.role for probe in probes[1:4]} == {control}
    assert len(probes) == (4 + 2 * 7 if name in OWN_CLAMPS else 20)
    record = {probe.number: patchy(probe) for probe in probes[:9] if probe.number not in (2, 5)}
    assert replay(with_controls_first(name), record) == probes


@each_name
def test_controls_that_come_first_are_cut_at_the_bounds(name: str) -> None:
    start = GenerationStrategy.maskgit(2)
    bounds = {"remask_temperature": Bound(0.3, 2.0), "guidance_scale": Bound(0.25, 4.0)}
    frozen = () if name == PARETO else ("sampling_temperature",)
    if name == PARETO:
        del bounds["guidance_scale"]
    space = Space(start, bounds, frozen)
    first = first_strategies(space, 64)
    assert first["random order"].remask_temperature == (2.0,)
    made = with_controls_first(name, space)
    for strategy in first.values():
        probe = made.ask()
        assert isinstance(probe, Probe)
        assert probe.strategy == strategy
        made.tell(probe, measured(3.0))


@pytest.mark.parametrize("name", ["autonat-reference", "cmaes"])
def test_a_search_from_one_point_begins_at_the_best_of_the_first(name: str) -> None:
    def away(probe: Probe) -> float:  # lowest at "more remask noise"
        return abs(math.log(probe.strategy.remask_temperature[0] / 10))

    probes = run(with_controls_first(name), lambda probe: measured(away(probe)))
    assert np.median([away(probe) for probe in probes[4:11]]) < 0.5 * away(probes[0])


def test_a_training_space_has_no_controls() -> None:
    with pytest.raises(ValueError, match="controls_first: a TrainingSpace has no controls"):
        make_optimiser("tpe", space_of(TRAINING), budget_of(TRAINING, 9), 1, None, 64, True)


@each_case
def test_failures_are_survived(name: str, steps: int) -> None:
    probes = run(make(name, steps, failed=3), patchy, workers=4, pick=last)
    assert run(make(name, steps, failed=3), patchy) == probes
    more = 3 if name == "gp" else 0
    # The greedy search ends when its strides do, wherever it then is.
    assert name == "autonat-greedy" or len(probes) == len(plain_run(name, steps)) + more


@each_name
@pytest.mark.parametrize("result", [Failure("node lost"), measured(math.nan)])
def test_nothing_but_failures_is_survived(name: str, result: Result) -> None:
    assert len(run(make(name, 2), lambda probe: result)) == len(plain_run(name, 2))


@each_name
def test_failure_and_nan_are_one(name: str) -> None:
    """A resumed search reads both from a record as failures."""

    def failing(result: Result) -> list[Probe]:
        return run(make(name, 2), lambda probe: quadratic(probe) if probe.number % 2 else result)

    assert failing(Failure("node lost")) == failing(measured(math.nan))


def replay(optimiser: Optimiser, record: Mapping[int, Result]) -> list[Probe]:
    """Resume: what the record holds is told again, the rest is measured."""
    return run(
        optimiser,
        lambda probe: record.get(probe.number) or patchy(probe),
        workers=4,
        pick=last,
    )


@each_case
def test_resumed_by_replay_is_not_interrupted(name: str, steps: int) -> None:
    whole = run(make(name, steps, failed=3), patchy)
    half = whole[: len(whole) // 2]
    # The driver died with the last probe and two earlier ones in flight.
    lost = {half[-1].number, half[-3].number, half[-4].number}
    record = {probe.number: patchy(probe) for probe in half if probe.number not in lost}
    assert replay(make(name, steps, failed=3), record) == whole


@each_name
def test_a_probe_is_told_once(name: str) -> None:
    optimiser = make(name, 2)
    probe = optimiser.ask()
    assert isinstance(probe, Probe)
    optimiser.tell(probe, Failure("node lost"))
    with pytest.raises(ValueError, match="probe 0 was told already"):
        optimiser.tell(probe, measured(3.0))


@each_name
def test_a_probe_never_asked_is_refused(name: str) -> None:
    first = make(name, 2).ask()
    assert isinstance(first, Probe)
    with pytest.raises(ValueError, match="probe 0 was never asked"):
        make(name, 2).tell(first, measured(3.0))
    other = make(name, 2, seed=5)
    other.ask()
    with pytest.raises(ValueError, match="probe 0"):
        other.tell(first, measured(3.0))


@pytest.mark.parametrize("name", [n for n in OPTIMISERS if n != "coarse-to-fine"])
def test_seeds_are_common_or_not_as_set(name: str) -> None:
    def seeds(common: bool) -> list[tuple[int, int]]:
        budget, settings = Budget(14 * IMAGES, IMAGES), {"common_random_numbers": common}
        probes = run(make_optimiser(name, space_of(2), budget, 0, settings, tokens=64))
        return [(probe.step, probe.seed) for probe in probes]

    assert len({seed for _, seed in seeds(common=False)}) == 14
    common = seeds(common=True)
    gradient_steps = 2 if name in OWN_CLAMPS else 1
    assert len({seed for _, seed in common}) == gradient_steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_keep_max_in_flight(name: str) -> None:
    optimiser = make_optimiser(
        name, space_of(2), Budget(9 * IMAGES, IMAGES), 0, {"max_in_flight": 3}
    )
    probes = [optimiser.ask() for _ in range(4)]
    assert probes[3] is WAIT
    assert isinstance(probes[1], Probe)
    optimiser.tell(probes[1], measured(2.0))
    assert optimiser.ask() is WAIT  # probe 3 must know probe 0, not just any one
    assert isinstance(probes[0], Probe)
    optimiser.tell(probes[0], measured(2.0))
    assert isinstance(optimiser.ask(), Probe)


def test_the_gaussian_process_goes_the_fast_way() -> None:
    """Without greenlet Optuna warns, once a process, and is several times slower."""
    words = """
import optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=0, n_startup_trials=1))
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
"""
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert "greenlet" not in said.stderr


def test_unknown_optimiser_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown optimiser 'sgd'; known: coarse-to-fine, .*"):
        make_optimiser("sgd", space_of(2), Budget(900, IMAGES), 0)
    with pytest.raises(ValueError, match="unknown optimiser 'sgd'"):
        default_settings("sgd")


@each_name
def test_bad_settings_are_refused(name: str) -> None:
    budget = Budget(900, IMAGES)
    with pytest.raises(ValueError, match=f"{name} has no setting 'momentum'; it has: "):
        make_optimiser(name, space_of(2), budget, 0, {"momentum": 0.9})
    with pytest.raises(ValueError, match="seed = -1"):
        make_optimiser(name, space_of(2), budget, -1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_probe_in_flight_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="max_in_flight = 0"):
        make_optimiser(name, space_of(2), Budget(900, IMAGES), 0, {"max_in_flight": 0})


@each_name
def test_default_settings_are_those_in_force(name: str) -> None:
    budget = Budget(8 * IMAGES, IMAGES)
    given, plain = (
        make_optimiser(name, space_of(2), budget, 1, settings, tokens=64)
        for settings in (default_settings(name), None)
    )
    assert run(given) == run(plain)


@pytest.mark.parametrize(
    ("images", "each", "line"),
    [
        (99, 100, "budget = 99 images is less than one evaluation of 100 images"),
        (100, 0, "images_per_evaluation = 0 is not positive"),
        (-5, 100, "budget = -5 images"),
    ],
)
def test_bad_budgets(images: int, each: int, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Budget(images, each)


def test_replicates_ask_every_strategy_for_every_seed() -> None:
    strategies = {"two": GenerationStrategy.maskgit(2), "one": GenerationStrategy.maskgit(1)}
    asked = run(Replicates(strategies, 50, seeds=[7, 8, 9]), patchy, workers=5, pick=last)
    assert [probe.number for probe in asked] == [*range(6)]
    assert [(probe.step, probe.seed, probe.role) for probe in asked] == [
        (0, 7, "two"),
        (0, 7, "one"),
        (1, 8, "two"),
        (1, 8, "one"),
        (2, 9, "two"),
        (2, 9, "one"),
    ]
    assert all(probe.strategy == strategies[probe.role] for probe in asked)
    assert all(probe.images == 50 for probe in asked)


def test_replicates_resume_and_refuse() -> None:
    def make_replicates() -> Replicates:
        return Replicates({"two": GenerationStrategy.maskgit(2)}, 50, seeds=range(6))

    whole = run(make_replicates(), patchy)
    assert replay(make_replicates(), {0: measured(3.0), 2: measured(4.0)}) == whole
    replicates = make_replicates()
    with pytest.raises(ValueError, match="never asked"):
        replicates.tell(whole[0], measured(3.0))
    replicates.ask()
    replicates.tell(whole[0], measured(3.0))
    with pytest.raises(ValueError, match="told already"):
        replicates.tell(whole[0], measured(3.0))


def test_no_replicates_are_done_at_once() -> None:
    assert Replicates({}, 50, seeds=[1]).ask() is DONE


@each_name
def test_a_limit_of_passes_holds(name: str) -> None:
    space = Space(GenerationStrategy.maskgit(4), max_forward_passes=5)
    made = make_optimiser(name, space, Budget(20 * IMAGES, IMAGES), 0, tokens=64)
    assert max(probe.strategy.forward_passes() for probe in run(made)) <= 5


def test_nsgaii_passes_finds_a_front() -> None:
    space = space_of(4)
    made = make_optimiser(PARETO, space, Budget(300 * IMAGES, IMAGES), 0, tokens=64)
    passes = [probe.strategy.forward_passes() for probe in run(made)]
    assert set(passes) == {4, 5, 6, 7, 8}
    # Fewer passes are better: they grow frequent.
    assert sum(passes[-100:]) < sum(passes[:100])
