"""AutoNAT's search against steps worked out by hand from its published settings."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import pytest

from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Budget, Probe
from search.optimisers.autonat_reference import AutoNATReference, common_numbers
from search.space import Space
from search.strategy import GenerationStrategy

START = GenerationStrategy((0.5,), (0.5,), (1.0, 1.0), (0.5, 1.0))
NAMES = (
    "mask_ratio_0",
    "remask_temperature_0",
    "sampling_temperature_0",
    "sampling_temperature_1",
    "guidance_scale_0",
    "guidance_scale_1",
)
Fid = float | Failure


def descent(start: GenerationStrategy = START, steps: int = 4) -> AutoNATReference:
    space = Space(start)
    return AutoNATReference(space, Budget(steps * (1 + len(space.names)) * 100, 100), seed=0)


def batch(optimiser: AutoNATReference, size: int = 7) -> list[Probe]:
    probes = [optimiser.ask() for _ in range(size)]
    return [probe for probe in probes if isinstance(probe, Probe)]


def tell(optimiser: AutoNATReference, probes: Sequence[Probe], fids: Sequence[Fid]) -> None:
    for probe, fid in zip(probes, fids, strict=True):
        result = fid if isinstance(fid, Failure) else Measurement(fid, None, 100, 4, 1.0)
        optimiser.tell(probe, result)


def values(strategy: GenerationStrategy) -> list[float]:
    return list(strategy.parameters().values())


def base_after(steps: Sequence[Sequence[Fid]], start: GenerationStrategy = START) -> list[float]:
    """The base of the step that follows these batches of FIDs."""
    optimiser = descent(start, steps=len(steps) + 1)
    for fids in steps:
        tell(optimiser, batch(optimiser), fids)
    probes = batch(optimiser)
    assert probes[0].role == "base"
    return values(probes[0].strategy)


def test_a_step_is_the_base_and_one_probe_a_coordinate() -> None:
    probes = batch(descent())
    assert [probe.role for probe in probes] == ["base", *NAMES]
    assert [probe.step for probe in probes] == [0] * 7
    assert probes[0].strategy == START
    for i, probe in enumerate(probes[1:]):
        expected = [0.5, 0.5, 1.0, 1.0, 0.5, 1.0]
        expected[i] += 0.01 if i == 0 else 0.1
        assert values(probe.strategy) == pytest.approx(expected, abs=1e-12)


def test_every_evaluation_has_noise_of_its_own() -> None:
    optimiser = descent()
    first = batch(optimiser)
    tell(optimiser, first, [1.0] * 7)
    seeds = [probe.seed for probe in first + batch(optimiser)]
    assert len(set(seeds)) == 14


STEP_1 = [10.0, 10.2, 10.3, 9.8, 10.0, 9.5, 10.1]
"""Slopes 0.2/0.01 = 20, then 3, -2, 0, -5, 1 (differences over 0.1)."""


def test_first_step() -> None:
    # 0.5 - 0.001 * 20; 0.5 - 0.1 * 3; 1 + 0.1 * 2; 1; 0.5 + 0.1 * 5; 1 - 0.1 * 1
    expected = [0.48, 0.2, 1.2, 1.0, 1.0, 0.9]
    assert base_after([STEP_1]) == pytest.approx(expected, abs=1e-9)


def test_momentum_over_three_steps() -> None:
    # Flat: velocities 10, 1.5, -1, 0, -2.5, 0.5.
    flat = [7.0] * 7
    expected = [0.47, 0.05, 1.3, 1.0, 1.25, 0.85]
    assert base_after([STEP_1, flat]) == pytest.approx(expected, abs=1e-9)
    # Slopes 10, -1, 0, 2, 0, 0: velocities 15, -0.25, -0.5, 2, -1.25, 0.25.
    third = [8.0, 8.1, 7.9, 8.0, 8.2, 8.0, 8.0]
    expected = [0.455, 0.075, 1.35, 0.8, 1.375, 0.825]
    assert base_after([STEP_1, flat, third]) == pytest.approx(expected, abs=1e-9)


def test_clamps() -> None:
    # Every slope is far too steep: ratios end in [0, 0.99], the rest at 1e-4 or anywhere above.
    down = [10.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]
    assert base_after([down]) == [0.0, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4]
    up = [20.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    expected = [0.99, 10.5, 11.0, 11.0, 10.5, 11.0]
    assert base_after([up]) == pytest.approx(expected, abs=1e-9)


def test_guidance_at_the_limit_costs_no_unconditional_pass() -> None:
    optimiser = descent(steps=2)
    probes = batch(optimiser)
    assert probes[0].strategy.forward_passes() == 4
    tell(optimiser, probes, [10.0, *[20.0] * 6])
    base, *_ = batch(optimiser)
    assert base.strategy.guidance_scale == (1e-4, 1e-4)
    assert base.strategy.forward_passes() == 2


def test_velocity_is_not_clamped() -> None:
    # After `down` the velocities are 100 and 1000; at slopes of -60 (and -600) they are
    # -10 (and -100): off the bounds by 0.1 * 10, by 0.001 * 100 for the ratio.
    down = [10.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]
    back = [10.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    expected = [0.1] + [1.0001] * 5
    assert base_after([down, back]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("failed", [Failure("node lost"), math.nan, math.inf])
def test_a_failed_probe_has_slope_0(failed: Fid) -> None:
    fids: list[Fid] = [*STEP_1]
    fids[1] = fids[5] = failed
    assert base_after([fids]) == pytest.approx([0.5, 0.2, 1.2, 1.0, 0.5, 0.9], abs=1e-9)
    # In a later step its momentum goes on: velocities 10, 1.5, -1, 0, -2.5, 0.5.
    flat: list[Fid] = [7.0, failed, 7.0, 7.0, 7.0, failed, 7.0]
    expected = [0.47, 0.05, 1.3, 1.0, 1.25, 0.85]
    assert base_after([STEP_1, flat]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("failed", [Failure("node lost"), math.nan])
def test_a_failed_base_skips_the_step(failed: Fid) -> None:
    lost: list[Fid] = [failed, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert base_after([lost]) == values(START)
    # Neither place nor momentum changes.
    assert base_after([STEP_1, lost]) == base_after([STEP_1])
    assert base_after([STEP_1, lost, [7.0] * 7]) == base_after([STEP_1, [7.0] * 7])


def test_a_failed_base_is_measured_again_with_another_seed() -> None:
    optimiser = descent()
    first = batch(optimiser)
    tell(optimiser, first, [Failure("node lost")] * 7)
    again = batch(optimiser)[0]
    assert (again.strategy, again.step) == (START, 1)
    assert again.seed != first[0].seed


def test_waits_for_the_whole_batch() -> None:
    optimiser = descent()
    probes = batch(optimiser)
    for probe in reversed(probes):
        assert optimiser.ask() is WAIT
        tell(optimiser, [probe], [3.0])
    assert isinstance(optimiser.ask(), Probe)


def test_the_highest_ratio_is_probed_below_1() -> None:
    start = GenerationStrategy((0.99,), (0.5,), (1.0, 1.0), (0.5, 1.0))
    probe = batch(descent(start))[1]
    assert 0.99 < probe.strategy.mask_ratio[0] < 1


def test_guidance_may_start_at_0() -> None:
    start = GenerationStrategy((0.5,), (0.5,), (1.0, 1.0), (0.0, 1.0))
    assert batch(descent(start))[0].strategy == start
    # The clamp comes after a step, whatever its slope.
    assert base_after([[7.0] * 7], start)[4] == 1e-4


def test_frozen_schedules_have_no_probe() -> None:
    space = Space(START, frozen=("guidance_scale", "mask_ratio"))
    optimiser = AutoNATReference(space, Budget(800, 100), seed=0)
    first = batch(optimiser, 4)
    assert [probe.role for probe in first] == ["base", *NAMES[1:4]]
    tell(optimiser, first, [10.0, 10.3, 9.8, 10.0])
    expected = [0.5, 0.2, 1.2, 1.0, 0.5, 1.0]
    assert values(batch(optimiser, 4)[0].strategy) == pytest.approx(expected, abs=1e-9)


def test_one_step_has_no_ratio() -> None:
    optimiser = descent(GenerationStrategy.maskgit(1))
    tell(optimiser, batch(optimiser, 3), [5.0, 5.1, 4.9])
    expected = [1.0 - 0.1 * 1, 1.0 + 0.1 * 1]
    assert values(batch(optimiser, 3)[0].strategy) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("evaluations", "asked"), [(3, 3), (5, 3), (6, 6), (100_000, 300)])
def test_only_whole_steps_and_at_most_100(evaluations: int, asked: int) -> None:
    space = Space(GenerationStrategy.maskgit(1))
    optimiser = AutoNATReference(space, Budget(evaluations, 1), seed=0)
    for number in itertools.count():  # noqa: B007
        probe = optimiser.ask()
        if probe is DONE:
            break
        assert isinstance(probe, Probe)
        tell(optimiser, [probe], [1.0])
    assert number == asked


def test_it_descends_a_bowl() -> None:
    goal: Mapping[str, float] = dict(zip(NAMES, (0.4, 0.9, 0.6, 1.3, 0.2, 1.8), strict=True))

    def fid(strategy: GenerationStrategy) -> float:
        found = strategy.parameters()
        return 2 + sum((found[name] - goal[name]) ** 2 for name in NAMES)

    optimiser = descent(steps=30)
    last = START
    while isinstance(probe := optimiser.ask(), Probe):
        tell(optimiser, [probe], [fid(probe.strategy)])
        last = probe.strategy if probe.role == "base" else last
    # Forward differences of 0.1 stop half a perturbation early, 0.05 in each temperature.
    assert fid(last) < 2.05 < fid(START) - 0.5


@pytest.mark.parametrize("count", range(1, 48))
def test_whole_tokens_always_change_a_count(count: int) -> None:
    """Also where the ratio is exactly that of a count, which rounding would lose."""
    start = dataclasses.replace(START, mask_ratio=(count / 49,))
    made = common_numbers(Space(start), Budget(4 * 7 * 100, 100), 0, 49)
    base, moved, *_ = batch(made)
    assert moved.strategy.masked_counts(49)[0] > base.strategy.masked_counts(49)[0]
