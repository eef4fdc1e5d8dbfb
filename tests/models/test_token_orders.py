from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.token_orders import (
    EVENNESS,
    confidences,
    even_noise,
    gumbel,
    halton_order,
    scores_of,
)
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy

FILES = Path(__file__).parent / "files"
RULE = GenerationStrategy.maskgit(4)
MASK = 5


class Watched(NATGenerator):
    """What it is shown at each step."""

    seen: list[torch.Tensor]

    def __call__(self, tokens: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        self.seen.append(tokens.clone())
        return super().__call__(tokens, conditions)

    def logits_at(
        self, tokens: torch.Tensor, conditions: Conditions, places: torch.Tensor
    ) -> torch.Tensor:
        self.seen.append(tokens.clone())
        return super().logits_at(tokens, conditions, places)


@pytest.fixture
def generator() -> Watched:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nat = NAT(NATConfig(MASK, 64, 3, width=16, depth=2, num_heads=2)).eval()
    made = Watched(nat.config, GreyLevels(MASK, (8, 8)), nat=nat)
    made.seen = []
    return made


def masks(generator: Watched, strategy: GenerationStrategy, batch: int = 3) -> list[torch.Tensor]:
    """[B, L] of what is masked as each step after the first begins."""
    unguided = strategy.with_values({"guidance_scale": (0.0,) * strategy.steps})
    random = torch.Generator().manual_seed(1)
    tokens = generate(generator, Conditions(torch.arange(batch)), unguided, random)
    assert (tokens != MASK).all()
    return [shown == MASK for shown in generator.seen[1:]]


@pytest.mark.parametrize("side", [8, 16])
def test_the_order_is_that_of_halton_maskgit(side: int) -> None:
    public = np.load(FILES / f"halton_order_{side}x{side}.npy")
    np.testing.assert_array_equal(halton_order((side, side)), public)


def test_every_grid_is_walked_over_whole() -> None:
    assert sorted(halton_order((3, 10))) == list(range(30))


def test_halton_sets_the_tokens_in_its_order(generator: Watched) -> None:
    order = halton_order((8, 8))
    strategy = dataclasses.replace(RULE, token_order="halton")
    counts = RULE.masked_counts(64)
    for count, masked in zip(counts[:-1], masks(generator, strategy), strict=True):
        expected = torch.zeros(64, dtype=torch.bool)
        expected[torch.tensor(order[64 - count :].copy())] = True
        assert (masked == expected).all()


def test_rolled_each_image_begins_elsewhere(generator: Watched) -> None:
    order = halton_order((8, 8)).tolist()
    strategy = dataclasses.replace(RULE, token_order="halton-rolled")
    counts = RULE.masked_counts(64)
    offsets = []
    for image in range(3):
        found = masks(generator, strategy)
        generator.seen.clear()
        # The walk of offset r is order'[i] = order[(i - r) mod L].
        walks = {r: [order[(i - r) % 64] for i in range(64)] for r in range(64)}
        (offset,) = (
            r
            for r, walk in walks.items()
            if all(
                set(walk[64 - count :]) == set(masked[image].nonzero()[:, 0].tolist())
                for count, masked in zip(counts[:-1], found, strict=True)
            )
        )
        offsets.append(offset)
    assert len(set(offsets)) > 1


def test_the_random_order_is_what_endless_remask_noise_gives(generator: Watched) -> None:
    noisy = RULE.with_values({"remask_temperature": (1e6,) * 3})
    expected = masks(generator, noisy)
    generator.seen.clear()
    found = masks(generator, dataclasses.replace(RULE, token_order="random"))
    assert all((a == b).all() for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("order", ["random", "halton", "halton-rolled"])
def test_every_order_meets_the_same_noise(generator: Watched, order: str) -> None:
    """The generator of random numbers is left in the same state."""
    states = []
    for strategy in (RULE, dataclasses.replace(RULE, token_order=order)):
        random = torch.Generator().manual_seed(1)
        generate(generator, Conditions(torch.arange(3)), strategy, random)
        states.append(random.get_state())
    assert torch.equal(*states)


def test_a_logit_is_the_confidence_without_its_normalisation() -> None:
    logits = torch.randn(2, 6, MASK)
    sampled = torch.randint(MASK, (2, 6))
    uniforms = torch.rand(2, 6)
    found = confidences(logits, sampled, 0.5, uniforms, "logit")
    expected = confidences(logits, sampled, 0.5, uniforms) + logits.logsumexp(-1)
    torch.testing.assert_close(found, expected)
    strategy = dataclasses.replace(RULE, confidence="logit")
    places = torch.arange(6).flip(0).expand(2, 6)
    scores = scores_of(strategy, None)(0, places, logits, sampled, uniforms)
    noise = strategy.remask_temperature[0]
    assert torch.equal(scores, confidences(logits, sampled, noise, uniforms.flip(1), "logit"))


@pytest.mark.parametrize("order", ["halton", "halton-rolled"])
def test_halton_needs_a_grid(order: str) -> None:
    with pytest.raises(ValueError, match=f"token_order = '{order}' needs a grid of tokens"):
        scores_of(dataclasses.replace(RULE, token_order=order), None)


def with_noise(order: str, noise: float) -> GenerationStrategy:
    return dataclasses.replace(RULE, token_order=order, remask_temperature=(noise,) * 3)


def quarters(chosen: torch.Tensor) -> torch.Tensor:
    """How many are chosen in the fullest quarter of each image, of [B, 64]; [B]."""
    return chosen.view(-1, 2, 4, 2, 4).sum((2, 4)).flatten(1).amax(1)


def test_spread_noise_is_distributed_alike_at_every_position_and_even_over_the_image() -> None:
    random = torch.Generator().manual_seed(0)
    uniforms = torch.rand(4000, 64, generator=random)
    drawn = even_noise(with_noise("confidence-spread", 1.0), (8, 8), uniforms)
    assert drawn is not None
    quantiles = EVENNESS * gumbel((torch.arange(64) + 0.5) / 64)
    torch.testing.assert_close(drawn.sort(1).values, quantiles.expand(4000, -1))
    ranks = drawn.argsort(1).argsort(1) / 64
    assert (ranks.mean(0) - 0.5).abs().max() < 5 * 0.29 / 4000**0.5
    # Of the highest sixteen, four belong in each quarter.
    assert quarters(ranks >= 48 / 64).max() <= 6
    assert (quarters(uniforms.argsort(1) >= 48) > 6).float().mean() > 0.15


def test_where_spread_noise_starts_says_nothing_about_independent_noise() -> None:
    uniforms = torch.rand(40_000, 16, generator=torch.Generator().manual_seed(0))
    drawn = even_noise(with_noise("confidence-spread", 1.0), (4, 4), uniforms)
    assert drawn is not None
    both = torch.stack([drawn[:, 0], gumbel(uniforms[:, 0])])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / 40_000**0.5


def test_spread_noise_has_the_variance_of_independent_noise() -> None:
    random = torch.Generator().manual_seed(0)
    uniforms, places = torch.rand(20_000, 64, generator=random), torch.arange(64).expand(20_000, -1)
    logits, sampled = torch.zeros(20_000, 64, 1), torch.zeros(20_000, 64, dtype=torch.int64)
    plain, spread = (
        scores_of(with_noise(order, 2.0), (8, 8))(0, places, logits, sampled, uniforms)
        for order in ("confidence", "confidence-spread")
    )
    assert float(spread.std()) == pytest.approx(float(plain.std()), rel=0.05)


def test_without_noise_spread_is_the_order_of_confidence(generator: Watched) -> None:
    spread = masks(generator, with_noise("confidence-spread", 0.0))
    generator.seen.clear()
    plain = masks(generator, with_noise("confidence", 0.0))
    for one, other in zip(spread, plain, strict=True):
        assert torch.equal(one, other)


def test_with_very_much_noise_spread_keeps_longer_runs_of_the_halton_sequence(
    generator: Watched,
) -> None:
    def ends(order: str) -> float:
        """How often what is masked and what is not follow each other; 2 for a run."""
        first = masks(generator, with_noise(order, 1e6))[0]
        generator.seen.clear()
        turned = first[:, torch.from_numpy(halton_order((8, 8)).copy())].int()  # a ring
        return float((turned != turned.roll(1, 1)).sum(1).float().mean())

    assert 2 <= ends("confidence-spread") < 0.6 * ends("confidence")


def test_spread_noise_needs_a_grid() -> None:
    with pytest.raises(ValueError, match="'confidence-spread' needs a grid of tokens"):
        scores_of(with_noise("confidence-spread", 1.0), None)
