from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from search.bound import Bound
from search.coordinates import Coordinates
from search.first_strategies import first_strategies
from search.gradient import Gradient
from search.measurement import Failure, Measurement
from search.optimiser import DONE, RETEST, Budget, Probe
from search.optimisers.coarse_to_fine import CoarseToFine
from search.space import Space
from search.strategy import GenerationStrategy
from search.value_scale import is_flat, scaled

TOKENS = 64
SPACE = Space(GenerationStrategy.maskgit(6))
COORDINATES = Coordinates(SPACE, TOKENS)
BEST = 0.5 * np.cos(COORDINATES.order) / (1 + COORDINATES.order) ** 2


def truth(strategy: GenerationStrategy) -> float:
    """2 where the coefficients are BEST, which are smooth curves."""
    return 2 + 8 * float(np.sum((COORDINATES.from_strategy(strategy) - BEST) ** 2))


def noisy(probe: Probe, deviation: float = 0.3) -> float:
    """A seed's own offset, and a part that changes slowly with the strategy."""
    rng = np.random.default_rng(probe.seed)
    offset, tilt = rng.normal(), rng.normal(size=len(BEST))
    slow = math.sin(float(tilt @ COORDINATES.from_strategy(probe.strategy)))
    return truth(probe.strategy) + deviation * (0.8 * offset + 0.6 * slow)


def run(optimiser: CoarseToFine, deviation: float = 0.3) -> list[tuple[Probe, float]]:
    asked = []
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        fid = noisy(probe, deviation)
        optimiser.tell(probe, Measurement(fid, None, probe.images, 12, 0.0))
        asked.append((probe, fid))
    return asked


@pytest.fixture(scope="module")
def asked() -> list[tuple[Probe, float]]:
    return run(CoarseToFine(SPACE, Budget(12_000, 100), 3, TOKENS))


def winner(asked: list[tuple[Probe, float]]) -> tuple[GenerationStrategy, float]:
    retests = [(probe, fid) for probe, fid in asked if probe.role == RETEST]
    last = max(probe.step for probe, _ in retests)
    fids: dict[GenerationStrategy, list[float]] = {}
    for probe, fid in retests:
        fids.setdefault(probe.strategy, []).append(fid)
    final = {probe.strategy for probe, _ in retests if probe.step == last}
    return min(((s, float(np.mean(fids[s]))) for s in final), key=lambda pair: pair[1])


def test_it_finds_the_curves_under_noise(asked: list[tuple[Probe, float]]) -> None:
    strategy, _ = winner(asked)
    assert truth(strategy) - 2 < 0.1 * (truth(SPACE.start) - 2)


def test_it_believes_what_is_true(asked: list[tuple[Probe, float]]) -> None:
    strategy, believed = winner(asked)
    assert believed == pytest.approx(truth(strategy), abs=0.4)


def test_values_below_zero_are_searched_as_those_above() -> None:
    """KID and MMD may be negative: it asks the same of values that are all lower by as much."""

    def strategies(shift: float) -> list[GenerationStrategy]:
        optimiser, found = CoarseToFine(SPACE, Budget(4_000, 100), 3, TOKENS), []
        while isinstance(probe := optimiser.ask(), Probe):
            value = round(noisy(probe) * 1024) / 1024 - shift  # exact, whatever is taken off
            optimiser.tell(probe, Measurement(value, None, probe.images, 12, 0.0, metric="kid"))
            found.append(probe.strategy)
        return found

    assert strategies(64.0) == strategies(0.0)


def test_seeds_come_in_blocks_and_the_best_is_measured_anew_in_each(
    asked: list[tuple[Probe, float]],
) -> None:
    searched = [probe for probe, _ in asked if probe.role != RETEST]
    blocks = {probe.step: probe for probe in reversed(searched)}
    assert len({probe.seed for probe in searched}) == len(blocks) > 2
    for block, first in blocks.items():
        if block > 0:
            before = {probe.strategy for probe in searched if probe.number < first.number}
            assert first.role == "base"
            assert first.strategy in before


def test_retests_are_on_fresh_seeds_common_to_all(asked: list[tuple[Probe, float]]) -> None:
    searched = {probe.seed for probe, _ in asked if probe.role != RETEST}
    seeds: dict[int, dict[GenerationStrategy, set[int]]] = {}
    for probe, _ in asked:
        if probe.role == RETEST:
            assert probe.seed not in searched
            seeds.setdefault(probe.step, {}).setdefault(probe.strategy, set()).add(probe.seed)
    contenders = [len(by_strategy) for _, by_strategy in sorted(seeds.items())]
    assert contenders == sorted(contenders, reverse=True)
    for by_strategy in seeds.values():
        assert len({frozenset(found) for found in by_strategy.values()}) == 1


ORDERS = ("confidence", "confidence-spread")
BOTH = Space(SPACE.start, choices={"token_order": ORDERS})


def test_the_best_are_retested_with_other_choices_too() -> None:
    found = run(CoarseToFine(BOTH, Budget(12_000, 100), 0, TOKENS))
    retests = [probe for probe, _ in found if probe.role == RETEST]
    first = {probe.strategy for probe in retests if probe.step == retests[0].step}
    assert len(first) == 4
    for strategy in first:
        assert {replace(strategy, token_order=order) for order in ORDERS} <= first


def test_choices_that_cannot_be_measured_are_not_retested() -> None:
    optimiser = CoarseToFine(BOTH, Budget(4_000, 100), 0, TOKENS)
    orders = []
    while isinstance(probe := optimiser.ask(), Probe):
        order = probe.strategy.token_order
        failed = order == ORDERS[1]
        measured = Measurement(noisy(probe), None, probe.images, 12, 0.0)
        optimiser.tell(probe, Failure("it needs a grid") if failed else measured)
        if probe.role == RETEST:
            orders.append(order)
    assert set(orders) == {ORDERS[0]}


def test_detail_grows(asked: list[tuple[Probe, float]]) -> None:
    """Early proposals are lines; what bends more comes later."""

    def roughness(probe: Probe) -> float:
        fine = (COORDINATES.order > 3) & (COORDINATES.schedule > 0)
        return float(np.abs(COORDINATES.from_strategy(probe.strategy)[fine]).sum())

    samples = [probe for probe, _ in asked if probe.role == "sample"]
    third = len(samples) // 4
    assert np.mean([*map(roughness, samples[-third:])]) > np.mean(
        [*map(roughness, samples[:third])]
    )


def test_it_says_when_it_has_converged() -> None:
    """Of two schedules, in few steps and hardly any noise: soon nothing more is to be found."""
    space = Space(GenerationStrategy.maskgit(3), frozen=("mask_ratio", "guidance_scale"))
    coordinates = Coordinates(space, TOKENS)
    optimiser = CoarseToFine(space, Budget(20_000, 100), 0, TOKENS)
    fids = []
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        away = coordinates.from_strategy(probe.strategy) - 0.2
        fids.append(2 + 8 * float(away @ away))
        optimiser.tell(probe, Measurement(fids[-1], None, probe.images, 12, 0.0))
        if optimiser.converged is None:
            so_far = min(fids)
    assert optimiser.converged is not None
    assert optimiser.converged < 170
    assert min(fids) > 0.98 * so_far


@pytest.mark.long
def test_it_does_not_say_so_while_it_gains() -> None:
    """Every evaluation is better than the last."""
    optimiser = CoarseToFine(SPACE, Budget(20_000, 100), 0, TOKENS)
    while (probe := optimiser.ask()) is not DONE:
        assert isinstance(probe, Probe)
        fid = 10 * 0.98**probe.number
        optimiser.tell(probe, Measurement(fid, None, probe.images, 12, 0.0))
    assert optimiser.converged is None


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
@pytest.mark.parametrize("tokens", [None, 64])
def test_coordinates_lose_nothing(steps: int, tokens: int | None) -> None:
    space = Space(GenerationStrategy.maskgit(steps))
    coordinates = Coordinates(space, tokens)
    assert len(coordinates) == len(space.names)
    back = coordinates.to_strategy(coordinates.from_strategy(space.start))
    if tokens is not None:
        assert back.masked_counts(tokens) == space.start.masked_counts(tokens)
    else:
        np.testing.assert_allclose(back.mask_ratio, space.start.mask_ratio, rtol=1e-9)
    for name in ("remask_temperature", "sampling_temperature", "guidance_scale"):
        np.testing.assert_allclose(getattr(back, name), getattr(space.start, name), rtol=1e-9)


def test_coordinates_keep_to_the_bounds() -> None:
    bounds = {"mask_ratio": Bound(0.2, 0.8), "guidance_scale": Bound(0.5, 1.5)}
    start = GenerationStrategy((0.7, 0.5, 0.3), (1.0,) * 3, (1.0,) * 4, (1.0,) * 4)
    space = Space(start, bounds)
    coordinates = Coordinates(space, TOKENS)
    rng = np.random.default_rng(0)
    for _ in range(50):
        vector = space.to_vector(coordinates.to_strategy(rng.normal(size=len(coordinates))))
        assert np.all((vector >= space.low) & (vector <= space.high))


def test_too_small_a_budget_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"budget = 700 images.*8 evaluations.*need 800"):
        CoarseToFine(SPACE, Budget(700, 100), 0)


@pytest.mark.parametrize("setting", ["max_in_flight", "evaluations_per_seed"])
def test_bad_settings(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} = 0"):
        CoarseToFine(SPACE, Budget(9000, 100), 0, **{setting: 0})


@pytest.mark.parametrize(("evaluations", "max_in_flight"), [(8, 64), (60, 32), (40, 1)])
def test_any_number_of_workers_is_served(evaluations: int, max_in_flight: int) -> None:
    """With many, all of the first probes are asked before anything is known."""
    budget = Budget(100 * evaluations, 100)
    optimiser = CoarseToFine(SPACE, budget, 0, TOKENS, max_in_flight=max_in_flight)
    in_flight: list[Probe] = []
    asked = 0
    while (answer := optimiser.ask()) is not DONE:
        if isinstance(answer, Probe):
            in_flight.append(answer)
            asked += 1
        else:
            probe = in_flight.pop()
            optimiser.tell(probe, Measurement(noisy(probe), None, probe.images, 12, 0.0))
    assert asked == evaluations


def test_without_the_controls_only_the_start_comes_before_the_evenly_spread_points() -> None:
    budget = Budget(4000, 100)
    with_them, without = (
        [
            probe.strategy
            for probe, _ in run(CoarseToFine(SPACE, budget, 3, TOKENS, begin_with_controls=begins))[
                :10
            ]
        ]
        for begins in (True, False)
    )
    controls = first_strategies(SPACE, TOKENS)
    assert set(controls.values()) <= set(with_them)
    assert set(controls.values()) & set(without) == {SPACE.start}


def slope_of(strategy: GenerationStrategy) -> Gradient:
    """The gradient of `truth` where it has one, with small errors."""
    rise = COORDINATES.derivatives(strategy)
    by_coefficients = 16 * (COORDINATES.from_strategy(strategy) - BEST)
    values, *_ = np.linalg.lstsq(rise.T, by_coefficients * rise.any(0), rcond=None)
    steps = strategy.steps
    whole = tuple(tuple(0.01 * float(i == j) for j in range(3)) for i in range(3))
    last = ((0.01, 0.0), (0.0, 0.01))
    return Gradient(tuple(values.tolist()), (*((whole,) * (steps - 1)), last))


def searched(gradients: bool, seed: int) -> tuple[float, list[Probe]]:
    optimiser = CoarseToFine(SPACE, Budget(2_000, 100), seed, TOKENS, gradients=gradients)
    asked = []
    while isinstance(probe := optimiser.ask(), Probe):
        gradient = slope_of(probe.strategy) if probe.gradient else None
        measured = Measurement(noisy(probe), None, 100, 12, 0.0, gradient=gradient)
        optimiser.tell(probe, measured)
        asked.append((probe, measured.value))
    return truth(winner(asked)[0]), [probe for probe, _ in asked]


def test_gradients_save_evaluations() -> None:
    plain = np.mean([searched(False, seed)[0] for seed in range(3)])
    along = np.mean([searched(True, seed)[0] for seed in range(3)])
    assert along - 2 < 0.5 * (plain - 2)


def test_gradients_are_asked_for_with_all_but_retests() -> None:
    _, probes = searched(True, 0)
    assert {probe.role for probe in probes if not probe.gradient} == {RETEST}
    assert not any(probe.gradient for probe in searched(False, 0)[1])


@pytest.mark.parametrize(("evaluations", "plain", "along"), [(10, 4, 2), (20, 4, 3), (60, 8, 8)])
def test_a_short_search_with_gradients_has_fewer_evenly_spread_points(
    evaluations: int, plain: int, along: int
) -> None:
    controls = list(first_strategies(SPACE, TOKENS).values())
    for gradients, spread in ((False, plain), (True, along)):
        budget = Budget(100 * evaluations, 100)
        optimiser = CoarseToFine(SPACE, budget, 0, TOKENS, gradients=gradients)
        firsts = [
            probe.strategy for probe, _ in run(optimiser) if probe.role in ("start", "design")
        ]
        assert firsts[: len(controls)] == controls
        assert len(firsts) == len(controls) + spread


@pytest.mark.parametrize(("max_in_flight", "controls"), [(16, True), (4, False), (1, True)])
def test_the_first_proposal_with_gradients_knows_what_a_slope_is_worth(
    max_in_flight: int, controls: bool
) -> None:
    """For that it takes values that differ."""
    optimiser = CoarseToFine(
        SPACE,
        Budget(4_000, 100),
        0,
        TOKENS,
        gradients=True,
        max_in_flight=max_in_flight,
        begin_with_controls=controls,
    )
    in_flight: list[Probe] = []
    told = 0
    while not isinstance(answer := optimiser.ask(), Probe) or answer.role != "sample":
        if isinstance(answer, Probe):
            in_flight.append(answer)
            continue
        probe = in_flight.pop(0)
        found = Measurement(noisy(probe), None, 100, 12, 0.0, gradient=slope_of(probe.strategy))
        optimiser.tell(probe, found)
        told += 1
    assert told >= 3


def test_values_that_are_equal_give_slopes_no_scale() -> None:
    assert is_flat(scaled(np.full(4, 3.0), 500)[0])
    assert not is_flat(scaled(np.array([3.0, 4.0, 5.0]), 500)[0])
    optimiser = CoarseToFine(SPACE, Budget(2_000, 100), 0, TOKENS, gradients=True)
    while isinstance(probe := optimiser.ask(), Probe):
        gradient = slope_of(probe.strategy) if probe.gradient else None
        optimiser.tell(probe, Measurement(7.0, None, 100, 12, 0.0, gradient=gradient))


def test_choices_are_tried_before_gradients_are_followed() -> None:
    """A model knows nothing of a choice that no strategy has."""
    choices = {"token_order": ("confidence", "confidence-spread", "halton")}
    space = Space(GenerationStrategy.maskgit(6), choices=choices)
    optimiser = CoarseToFine(space, Budget(3_000, 100), 0, TOKENS, gradients=True)
    firsts = [probe for probe, _ in run(optimiser) if probe.role in ("start", "design")]
    assert {probe.strategy.token_order for probe in firsts} == set(choices["token_order"])


def test_a_search_goes_on_without_gradients_that_do_not_come() -> None:
    optimiser = CoarseToFine(SPACE, Budget(2_000, 100), 0, TOKENS, gradients=True)
    assert len(run(optimiser)) == 20


def test_gradients_need_a_free_schedule_with_derivatives() -> None:
    frozen = ("sampling_temperature", "remask_temperature", "guidance_scale")
    space = Space(GenerationStrategy.maskgit(6), frozen=frozen)
    with pytest.raises(ValueError, match="gradients = True: sampling_temperature, remask_"):
        CoarseToFine(space, Budget(2_000, 100), 0, TOKENS, gradients=True)
