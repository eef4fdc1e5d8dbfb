"""Every sampler may search curves in place of values; see search.curve_space."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from search.controls import more_remask_noise
from search.curve_space import CurveSpace
from search.first_strategies import first_strategies
from search.optimiser import DONE, Budget, Optimiser, Probe
from search.optimisers import samplers
from search.registry import OPTIMISERS_BY_NAME, PARETO, make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from search.testing import CHECKS, IMAGES, TOKENS, Case, last, measured, patchy, quadratic, run

SPACE = Space(GenerationStrategy.maskgit(4))
COARSE = {"coordinates": "coarse"}


def make(name: str, coordinates: str, first: bool = False, space: Space = SPACE) -> Optimiser:
    budget = Budget(20 * IMAGES, IMAGES)
    return make_optimiser(name, space, budget, 1, {"coordinates": coordinates}, TOKENS, first)


def told(probe: Probe) -> float:
    return quadratic(Case("tpe", steps=4), probe).value


@pytest.fixture(scope="module")
def coarse_cmaes() -> Iterator[str]:
    """The name of a CMA-ES that searches coarse numbers unless it is told otherwise."""
    made: Callable[..., Optimiser] = functools.partial(samplers.cmaes, coordinates="coarse")
    OPTIMISERS_BY_NAME.register("coarse-cmaes")(made)
    yield "coarse-cmaes"
    del OPTIMISERS_BY_NAME._registered["coarse-cmaes"]


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_what_optimisers_promise(check: str, coarse_cmaes: str) -> None:
    CHECKS[check](Case(coarse_cmaes, steps=4))


@pytest.mark.parametrize("name", ["qmc", "tpe", "cmaes", PARETO])
def test_own_proposals_are_level_and_slope(name: str) -> None:
    """Schedules that rise or fall throughout, once the start was measured as it is."""
    probes = run(make(name, "coarse"), lambda probe: measured(told(probe)))
    assert probes[0].strategy == SPACE.start
    for probe in probes[1:]:
        for schedule in ("remask_temperature", "sampling_temperature", "guidance_scale"):
            if (schedule, name) != ("guidance_scale", PARETO):  # which takes guidance away
                moves = np.diff(probe.strategy.schedule(schedule))
                assert np.all(moves <= 1e-12) or np.all(moves >= -1e-12)


@pytest.mark.parametrize("coordinates", ["values", "coarse", "curves"])
def test_controls_come_first_as_they_are(coordinates: str) -> None:
    first = [*first_strategies(SPACE, TOKENS).values()]

    def whole() -> list[Probe]:
        return run(make("tpe", coordinates, True), faulty, workers=4, pick=last)

    probes = whole()
    assert [probe.strategy for probe in probes[:4]] == first
    assert len(probes) == 20
    record = {p.number: faulty(p) for p in probes[:9] if p.number not in (2, 5)}
    made = make("tpe", coordinates, True)
    assert run(made, lambda p: record.get(p.number) or faulty(p), workers=3) == probes


faulty = functools.partial(patchy, Case("tpe", steps=4))


def test_what_coarse_numbers_do_not_describe_is_kept_from_the_sampler() -> None:
    """Their nearest neighbours are measured next, and the sampler knows those."""
    made = make("tpe", "coarse", True)
    first = [*first_strategies(SPACE, TOKENS).values()]
    space = CurveSpace(SPACE, TOKENS, 1)
    probes = run(made, lambda probe: measured(told(probe)))
    nearest = [space.pair(space.vector_of(strategy, None))[0] for strategy in first]
    assert [probe.strategy for probe in probes[4:8]] == nearest
    known = [trial.value for trial in made._study.trials]  # type: ignore[attr-defined]
    assert known[:12] == [told(probe) for probe in probes[4:16]]


def test_what_the_numbers_describe_is_measured_once() -> None:
    start = more_remask_noise(4)
    frozen = ("mask_ratio", "remask_temperature")
    made = make("tpe", "coarse", space=Space(start, frozen=frozen))
    probes = run(made, lambda probe: measured(told(probe)))
    assert probes[0].strategy == start
    near = probes[1].strategy.sampling_temperature
    assert not np.allclose(near, start.sampling_temperature)
    assert len(made._study.trials) == 20  # type: ignore[attr-defined]


def test_a_search_of_curves_begins_at_the_best_of_the_first() -> None:
    def away(probe: Probe) -> float:
        best = more_remask_noise(4)
        return float(np.abs(np.log(np.divide(best.remask_temperature, remask(probe)))).sum())

    def remask(probe: Probe) -> tuple[float, ...]:
        return probe.strategy.remask_temperature

    probes = run(make("cmaes", "coarse", True), lambda probe: measured(away(probe)))
    assert np.median([away(probe) for probe in probes[8:14]]) < 0.5 * away(probes[0])


def test_values_are_the_default_and_change_nothing() -> None:
    def asked(settings: dict[str, str]) -> list[Probe]:
        budget = Budget(20 * IMAGES, IMAGES)
        made = make_optimiser("cmaes", SPACE, budget, 1, settings, TOKENS)
        return run(made, lambda probe: measured(told(probe)))

    assert asked({"coordinates": "values"}) == asked({})
    assert asked(COARSE) != asked({})


def test_training_strategies_have_no_curves() -> None:
    case = Case("tpe", "training")
    with pytest.raises(ValueError, match="coordinates = coarse: only searches of generation"):
        make_optimiser("tpe", case.space(), case.budget(), 1, COARSE)
    made = make_optimiser("tpe", case.space(), case.budget(), 1, {"coordinates": "values"})
    assert made.ask() is not DONE
