"""Searches that learn from earlier searches at other T."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest

from search.bound import Bound
from search.coordinates import Coordinates
from search.earlier import EarlierSearch, Knowledge
from search.first_strategies import first_strategies
from search.measurement import Failure, Measurement
from search.optimiser import DONE, RETEST, WAIT, Budget, Evaluated, Probe
from search.optimisers.coarse_to_fine import CoarseToFine
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective

SIMULATED = SimulatedObjective()
TOKENS = SIMULATED.tokens


def space_of(steps: int) -> Space:
    return Space(GenerationStrategy.maskgit(steps))


def searched(
    steps: int, evaluations: int, earlier: Sequence[EarlierSearch] = (), seed: int = 0
) -> EarlierSearch:
    """Search the simulated objective."""
    made = CoarseToFine(space_of(steps), Budget(250 * evaluations, 250), seed, TOKENS, earlier)
    measured: list[Evaluated] = []
    tested: dict[GenerationStrategy, list[float]] = {}
    while (probe := made.ask()) is not DONE:
        assert isinstance(probe, Probe)
        found = SIMULATED.evaluate(probe.strategy, probe.images, probe.seed)
        made.tell(probe, found)
        measured.append(Evaluated(probe.strategy, found.value, probe.seed))
        if probe.role == RETEST:
            tested.setdefault(probe.strategy, []).append(found.value)
    most = max(len(values) for values in tested.values())
    best = min((s for s in tested if len(tested[s]) == most), key=lambda s: np.mean(tested[s]))
    return EarlierSearch(space_of(steps), best, tuple(measured))


@pytest.fixture(scope="module")
def at_4() -> EarlierSearch:
    return searched(4, 40)


def test_a_search_finds_more_with_what_it_knows() -> None:
    """Over three seeds, because a single search has luck."""
    at_8, gains = searched(8, 40), []
    for seed in range(1, 4):
        alone, taught = (searched(16, 26, earlier, seed).best for earlier in ((), (at_8,)))
        gains.append(SIMULATED.truth(alone, 10_000) - SIMULATED.truth(taught, 10_000))
    assert np.mean(gains) > 0.4


def test_first_come_the_controls_and_what_the_earlier_search_found(at_4: EarlierSearch) -> None:
    space = space_of(8)
    made = CoarseToFine(space, Budget(20_000, 250), 0, TOKENS, [at_4], max_in_flight=8)
    asked = [probe for _ in range(6) if isinstance(probe := made.ask(), Probe)]
    controls = list(first_strategies(space, TOKENS).values())
    assert [p.strategy for p in asked[: len(controls)]] == controls
    found = asked[len(controls)].strategy
    there, here = Coordinates(at_4.space, TOKENS), Coordinates(space, TOKENS)
    wanted = here.taken_over(there, there.from_strategy(at_4.best)[None])[0]
    assert here.from_strategy(found) == pytest.approx(np.clip(wanted, -1, 1), abs=0.15)


def test_the_order_of_results_does_not_matter_and_a_replay_asks_the_same(
    at_4: EarlierSearch,
) -> None:
    def run(backwards: bool) -> list[Probe]:
        made = CoarseToFine(space_of(8), Budget(6000, 250), 1, TOKENS, [at_4])
        asked: list[Probe] = []
        while True:
            waiting: list[Probe] = []
            while isinstance(probe := made.ask(), Probe):
                waiting.append(probe)
            asked += waiting
            for probe in reversed(waiting) if backwards else waiting:
                fid = SIMULATED.evaluate(probe.strategy, 250, probe.seed).value
                made.tell(probe, Measurement(fid, None, 250, 12, 0.0))
            if probe is DONE and not waiting:
                return asked
            assert probe is WAIT or waiting

    assert run(backwards=False) == run(backwards=True)


def test_values_of_another_level_and_spread_say_the_same(at_4: EarlierSearch) -> None:
    """Twice as high and 100 more: another metric could be like that."""
    shifted = dataclasses.replace(
        at_4,
        evaluations=[e._replace(value=100 + 2 * e.value) for e in at_4.evaluations],
    )
    points = [searched(8, 16, [one]).evaluations[-1].strategy for one in (at_4, shifted)]
    coordinates = Coordinates(space_of(8), TOKENS)
    first, second = (coordinates.from_strategy(point) for point in points)
    assert first == pytest.approx(second, abs=1e-3)


def test_failures_among_the_first_are_no_obstacle(at_4: EarlierSearch) -> None:
    space = space_of(8)
    coordinates = Coordinates(space, TOKENS)
    knowledge = Knowledge([at_4], space, coordinates, TOKENS)
    x = np.stack([coordinates.from_strategy(s) for s in first_strategies(space, TOKENS).values()])
    seeds = np.full(len(x), 7)
    all_failed = np.full(len(x), math.nan)
    one_left, two_left = all_failed.copy(), all_failed.copy()
    one_left[0], two_left[:2] = 5.0, [5.0, 9.0]
    few = [len(knowledge.data(x, v, seeds, 500)[0].y) for v in (all_failed, one_left)]
    assert few == [len(x), len(x)]
    data, scale = knowledge.data(x, two_left, seeds, 500)
    assert len(data.y) == len(x) + len(at_4.evaluations)
    assert scale.to_value(data.y[0]) == pytest.approx(5.0)
    assert len(np.unique(data.seeds)) == 1 + len({e.seed for e in at_4.evaluations})
    small, _ = knowledge.data(x, two_left, seeds, 20)
    assert len(small.y) <= 20


@pytest.mark.parametrize(
    "result",
    [Failure("no memory"), Measurement(5.0, None, 250, 8, 1.0)],
    ids=["all fail", "all are equal"],
)
def test_a_search_that_learns_nothing_ends_like_any_other(
    at_4: EarlierSearch, result: Measurement | Failure
) -> None:
    made = CoarseToFine(space_of(8), Budget(250 * 40, 250), 0, TOKENS, [at_4])
    asked = 0
    while (probe := made.ask()) is not DONE:
        assert isinstance(probe, Probe)
        made.tell(probe, result)
        asked += 1
    assert asked > 15


def test_bad_input(at_4: EarlierSearch) -> None:
    space, budget = space_of(8), Budget(20_000, 250)
    with pytest.raises(ValueError, match="begin_with_controls = False: what earlier searches"):
        CoarseToFine(space, budget, 0, TOKENS, [at_4], begin_with_controls=False)
    blind = dataclasses.replace(at_4, evaluations=at_4.evaluations[10:20])
    with pytest.raises(ValueError, match=r"measured the start and the controls, .* got none of"):
        CoarseToFine(space, budget, 0, TOKENS, [blind])
    with pytest.raises(ValueError, match="tpe does not learn from earlier searches; coarse-to-f"):
        make_optimiser("tpe", space, budget, 0, earlier=[at_4])


def test_curves_of_another_t_keep_their_coarse_orders() -> None:
    """What both T have is kept, finer orders are dropped, missing ones are 0; choices stay."""
    choices = {"token_order": ("confidence", "halton")}
    few, many = (
        Coordinates(Space(GenerationStrategy.maskgit(steps), choices=choices), TOKENS)
        for steps in (3, 6)
    )
    points = np.random.default_rng(0).normal(size=(5, len(few)))
    wider = many.taken_over(few, points)
    assert few.taken_over(many, wider) == pytest.approx(points)
    assert (wider != 0).sum() == points.size
    assert wider[:, many.is_choice] == pytest.approx(points[:, few.is_choice])
    frozen = Coordinates(
        Space(GenerationStrategy.maskgit(3), {"guidance_scale": Bound(0, 3)}, ["mask_ratio"])
    )
    assert frozen.taken_over(frozen, np.ones((1, len(frozen)))).all()
