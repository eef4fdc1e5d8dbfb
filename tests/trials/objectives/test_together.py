"""Several evaluations at once: the numbers of each by itself."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from docs.extending.captioned import CaptionedObjective as Mine
from models.generators.nat import NAT
from search.measurement import Failure, Measurement
from search.optimiser import Probe
from search.strategy import GenerationStrategy
from tests.fake_cuda import fake_cuda
from trials.objectives.digits import DigitsObjective
from trials.objectives.images import ImagesObjective
from trials.objectives.measured import evaluate_probe, evaluate_probes
from trials.objectives.objective import MeasuresTogether
from trials.objectives.simulated import SimulatedObjective

FOUR = GenerationStrategy.maskgit(4)
STRATEGIES = [
    FOUR,
    dataclasses.replace(FOUR, guidance_scale=(0.0,) * 4, mask_ratio=(0.9, 0.7, 0.1)),
    dataclasses.replace(FOUR, sampling_temperature=(0.5, 0.0, 1.0, 1.5)),
    dataclasses.replace(FOUR, guidance_scale=(0.0, 3.0, 0.0, 0.1), token_order="random"),
]
SEEDS = [5, 5, 6, 7]


def plain(measured: Sequence[Measurement]) -> list[Measurement]:
    return [dataclasses.replace(one, seconds=0, ceiling=None) for one in measured]


def alone(objective: Any, images: int) -> list[Measurement]:
    pairs = zip(STRATEGIES, SEEDS, strict=True)
    return plain([objective.evaluate(strategy, images, seed) for strategy, seed in pairs])


def probes(images: int = 130) -> list[Probe]:
    told = enumerate(zip(STRATEGIES, SEEDS, strict=True))
    return [Probe(n, strategy, images, seed, 0, "test") for n, (strategy, seed) in told]


def test_on_the_cpu_every_digit_is_that_of_one_by_one(
    trained: DigitsObjective, trained_images: ImagesObjective
) -> None:
    for objective, images in ((trained, 250), (trained_images, 120), (Mine(), 130)):
        assert isinstance(objective, MeasuresTogether)
        found = objective.evaluate_together(STRATEGIES, images, SEEDS)
        assert plain(found) == alone(objective, images)
        assert len({one.seconds for one in found}) == 1


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_joined_rows_give_the_number_up_to_rounding(
    trained_images: ImagesObjective, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(trained_images, 120)
    monkeypatch.setattr(trained_images._generating, "rows_at_once", rows)
    found = trained_images.evaluate_together(STRATEGIES, 120, SEEDS)
    for one, other in zip(found, expected, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-3)


def test_on_a_gpu_as_many_chunks_as_it_has_room_for_share_forward_passes(
    trained_images: ImagesObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(trained_images, 120)
    rounds: list[int] = []
    generating = trained_images._generating
    chunks_of = type(generating).tokens_of_chunks

    def spy(self: Any, chunks: Sequence[Any], *watch: Any) -> Any:
        rounds.append(len(chunks))
        return chunks_of(self, chunks, *watch)

    monkeypatch.setattr(type(generating), "tokens_of_chunks", spy)
    with fake_cuda(monkeypatch):
        found = trained_images.evaluate_together(STRATEGIES, 120, SEEDS)
        trained_images._move("cpu")
    monkeypatch.setattr(generating, "rows_at_once", None)
    # A trial to make what is kept, one for the memory; then three chunks of four strategies each.
    assert rounds == [1, 1, 12]
    for one, other in zip(found, expected, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-3)
        assert one.ceiling == 1e15


def test_memory_that_runs_out_divides_the_chunks_and_changes_nothing_but_rounding(
    trained_images: ImagesObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, forward, refused = alone(trained_images, 120), NAT.forward, []

    def small(self: NAT, tokens: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        if len(tokens) > 40:
            refused.append(len(tokens))
            raise torch.OutOfMemoryError("no memory for so many")
        return forward(self, tokens, *others)

    monkeypatch.setattr(NAT, "forward", small)
    monkeypatch.setattr(trained_images._generating, "rows_at_once", 600)
    found = trained_images.evaluate_together(STRATEGIES, 120, SEEDS)
    assert refused
    assert trained_images._generating.rows_at_once <= 40
    for one, other in zip(found, expected, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-3)


def test_probes_of_several_n_are_measured_as_one_by_one() -> None:
    asked = [*probes(), *probes(140)[:1], *probes(150)[:2]]
    found = evaluate_probes(Mine(), asked)
    expected = [evaluate_probe(Mine(), probe) for probe in asked]
    assert plain(found) == plain(expected)  # type: ignore[arg-type]


def test_a_probe_that_fails_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Mine):
        def evaluate(self, strategy: Any, images: int, seed: int) -> Measurement:
            if seed == 6:
                raise RuntimeError("no such noise")
            return super().evaluate(strategy, images, seed)

        def evaluate_together(self, strategies: Any, images: int, seeds: Any) -> Any:
            if 6 in seeds:
                raise RuntimeError("no such noise")
            return super().evaluate_together(strategies, images, seeds)

    found = evaluate_probes(Refusing(), probes())
    assert [isinstance(one, Failure) for one in found] == [False, False, True, False]
    assert "no such noise" in found[2].reason  # type: ignore[union-attr]
    assert not caplog.records


def test_what_can_be_measured_only_one_by_one_is_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Alone(Mine):
        def evaluate_together(self, strategies: Any, images: int, seeds: Any) -> Any:
            return super().evaluate_together(strategies, images, seeds)[1:]

    with caplog.at_level(logging.WARNING):
        found = evaluate_probes(Alone(), probes())
    assert plain(found) == alone(Mine(), 130)  # type: ignore[arg-type]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("4 evaluations could not be measured at once, but one by one: ValueErr")


def test_an_objective_that_cannot_measures_one_by_one() -> None:
    objective = SimulatedObjective()
    assert not isinstance(objective, MeasuresTogether)
    asked = probes()[:3]
    found, expected = (
        evaluate_probes(objective, asked),
        [evaluate_probe(objective, p) for p in asked],
    )
    assert plain(found) == plain(expected)  # type: ignore[arg-type]
