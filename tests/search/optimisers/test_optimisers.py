"""The conformance suite of the ask/tell face: every registered optimiser must pass it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from search.bound import Bound
from search.first_strategies import first_strategies
from search.optimiser import (
    DONE,
    WAIT,
    Budget,
    Optimiser,
    Probe,
)
from search.optimisers.replicates import Replicates
from search.registry import (
    OPTIMISERS,
    PARETO,
    SAMPLERS,
    TRAINING_OPTIMISERS,
    Searches,
    default_settings,
    make_optimiser,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.testing import (
    CHECKS,
    IMAGES,
    Case,
    Result,
    last,
    measured,
    patchy,
    plain_run,
    quadratic,
    run,
)

OWN_CLAMPS = ("autonat-reference", "autonat-common-numbers")
"""Optimisers that keep to limits of their own in place of the space's bounds."""
TRAINING = 0
"""In place of T: the optimiser searches training strategies."""
CURVES = "coarse-to-fine"
"""It has finer orders only from T = 3 on; the others differ only in the length of their vectors."""
CASES = [(name, 4 if name == CURVES else 2) for name in OPTIMISERS]
CASES += [(name, TRAINING) for name in TRAINING_OPTIMISERS if name != "gp"]
OTHER_LENGTHS = [(name, 2 if name == CURVES else 4) for name in OPTIMISERS if name != "gp"]
"""Optimisers and T. Optuna's Gaussian process is slow: once is enough."""

each_case = pytest.mark.parametrize(
    ("name", "steps"),
    [*CASES, *(pytest.param(*other, marks=pytest.mark.long) for other in OTHER_LENGTHS)],
)
each_name = pytest.mark.parametrize("name", OPTIMISERS)


def evaluations(name: str, steps: int) -> int:
    """Three gradient steps, two generations, a Gaussian process past its random start (which
    takes 10 results that did not fail)."""
    gradient_steps = 3 * (4 * steps - 1) + 2 if name in OWN_CLAMPS else 0
    return 14 if name == "gp" else max(34, gradient_steps)


def case_of(name: str, steps: int) -> Case:
    searches: Searches = "training" if steps == TRAINING else "generation"
    return Case(name, searches, steps or 2, evaluations(name, steps), name not in OWN_CLAMPS)


def make(name: str, steps: int, seed: int = 1) -> Optimiser:
    return case_of(name, steps).make(seed)


@each_case
@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_what_optimisers_promise(name: str, steps: int, check: str) -> None:
    CHECKS[check](case_of(name, steps))


@each_case
def test_budget_is_kept_and_used(name: str, steps: int) -> None:
    asked, paid = len(plain_run(case_of(name, steps))), evaluations(name, steps)
    unit = 4 * steps - 1 if name in OWN_CLAMPS else 1
    assert paid - unit < asked <= paid or (name == "autonat-greedy" and 8 < asked < paid)


@each_name
def test_budget_below_one_batch_is_refused(name: str) -> None:
    space = Space(GenerationStrategy.maskgit(3))
    need = IMAGES * (1 + 10 if name in OWN_CLAMPS else 8 if name == "coarse-to-fine" else 1)
    make_optimiser(name, space, Budget(need, IMAGES), 0, tokens=64)
    with pytest.raises(ValueError, match=rf"budget = {need - 1} images.*\b{need}\b"):
        make_optimiser(name, space, Budget(need - 1, IMAGES), 0, tokens=64)


@each_name
def test_another_seed_asks_something_else(name: str) -> None:
    case = case_of(name, 2)
    other = run(case.make(seed=2), lambda probe: quadratic(case, probe))
    assert other[1:] != plain_run(case)[1:]


@each_name
def test_what_is_told_matters(name: str) -> None:
    """It matters to whoever learns; random and quasi-random search must not change."""
    case = case_of(name, 2)

    def reversed_(probe: Probe) -> Result:
        return measured(-quadratic(case, probe).value)

    learns = name not in ("random", "qmc")
    assert (run(case.make(), reversed_) != plain_run(case)) == learns


def plainly(probe: Probe) -> Result:
    return quadratic(Case("tpe", steps=probe.strategy.steps), probe)


def faulty(probe: Probe) -> Result:
    return patchy(Case("tpe", steps=probe.strategy.steps), probe)


def with_controls_first(name: str, space: Space | None = None) -> Optimiser:
    """Of 20 evaluations, the controls among them."""
    space = space or Space(GenerationStrategy.maskgit(2))
    return make_optimiser(name, space, Budget(20 * IMAGES, IMAGES), 1, None, 64, True)


@each_name
def test_controls_come_first_and_are_the_same_for_all(name: str) -> None:
    first = first_strategies(Space(GenerationStrategy.maskgit(2)), 64)
    assert [*first] == ["start", "random order", "more remask noise", "published"]
    probes = run(with_controls_first(name), faulty, workers=4, pick=last)
    assert [probe.strategy for probe in probes[:4]] == [*first.values()]
    assert probes[0].role == "start"
    # coarse-to-fine always begins with them, as part of its design.
    control = "design" if name == "coarse-to-fine" else "control"
    assert {probe.role for probe in probes[1:4]} == {control}
    assert len(probes) == (4 + 2 * 7 if name in OWN_CLAMPS else 20)
    record = {probe.number: faulty(probe) for probe in probes[:9] if probe.number not in (2, 5)}
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
    with pytest.raises(ValueError, match="controls_first: only searches of generation strategies"):
        make_optimiser(
            "tpe",
            case_of("tpe", TRAINING).space(),
            case_of("tpe", TRAINING).budget(),
            1,
            None,
            64,
            True,
        )


def replay(optimiser: Optimiser, record: Mapping[int, Result]) -> list[Probe]:
    """Resume: what the record holds is told again, the rest is measured."""
    return run(
        optimiser,
        lambda probe: record.get(probe.number) or faulty(probe),
        workers=4,
        pick=last,
    )


@pytest.mark.parametrize("name", [n for n in OPTIMISERS if n != "coarse-to-fine"])
def test_seeds_are_common_or_not_as_set(name: str) -> None:
    def seeds(common: bool) -> list[tuple[int, int]]:
        budget, settings = Budget(14 * IMAGES, IMAGES), {"common_random_numbers": common}
        probes = run(
            make_optimiser(name, case_of("tpe", 2).space(), budget, 0, settings, tokens=64),
            lambda probe: measured(1 + probe.number % 3),
        )
        return [(probe.step, probe.seed) for probe in probes]

    assert len({seed for _, seed in seeds(common=False)}) == 14
    common = seeds(common=True)
    gradient_steps = 2 if name in OWN_CLAMPS else 1
    assert len({seed for _, seed in common}) == gradient_steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_keep_max_in_flight(name: str) -> None:
    optimiser = make_optimiser(
        name, case_of("tpe", 2).space(), Budget(9 * IMAGES, IMAGES), 0, {"max_in_flight": 3}
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
        make_optimiser("sgd", case_of("tpe", 2).space(), Budget(900, IMAGES), 0)
    with pytest.raises(ValueError, match="unknown optimiser 'sgd'"):
        default_settings("sgd")


@each_name
def test_bad_settings_are_refused(name: str) -> None:
    budget = Budget(900, IMAGES)
    with pytest.raises(ValueError, match=f"{name} has no setting 'momentum'; it has: "):
        make_optimiser(name, case_of("tpe", 2).space(), budget, 0, {"momentum": 0.9})
    with pytest.raises(ValueError, match="seed = -1"):
        make_optimiser(name, case_of("tpe", 2).space(), budget, -1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_probe_in_flight_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="max_in_flight = 0"):
        make_optimiser(
            name, case_of("tpe", 2).space(), Budget(900, IMAGES), 0, {"max_in_flight": 0}
        )


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
    asked = run(Replicates(strategies, 50, seeds=[7, 8, 9]), faulty, workers=5, pick=last)
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

    whole = run(make_replicates(), faulty)
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
    assert max(probe.strategy.forward_passes() for probe in run(made, plainly)) <= 5


@pytest.mark.parametrize("most", [None, 100])
def test_nsgaii_passes_finds_a_front(most: int | None) -> None:
    """A limit above 2T limits nothing."""
    space = Space(GenerationStrategy.maskgit(4), max_forward_passes=most)
    made = make_optimiser(PARETO, space, Budget(300 * IMAGES, IMAGES), 0, tokens=64)
    passes = [probe.strategy.forward_passes() for probe in run(made, plainly)]
    assert set(passes) == {4, 5, 6, 7, 8}
    # Fewer passes are better: they grow frequent.
    assert sum(passes[-100:]) < sum(passes[:100])
