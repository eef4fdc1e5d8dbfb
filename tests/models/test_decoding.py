from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from models import decoding
from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.token_orders import confidences
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy
from tests.models.prompts import six_prompts

LENGTH, WORDS, CLASSES = 16, 7, 3
RULE = GenerationStrategy.maskgit(4)


@pytest.fixture(scope="module")
def nat() -> NAT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NAT(NATConfig(WORDS, LENGTH, CLASSES, width=16, depth=2, num_heads=2)).eval()


def behind(nat: NAT) -> MaskedGenerator:
    return NATGenerator(nat.config, GreyLevels(WORDS, (4, 4)), nat=nat)


def run(nat: NAT, strategy: GenerationStrategy, seed: int = 0, batch: int = 6) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return generate(behind(nat), Conditions(torch.arange(batch) % CLASSES), strategy, random)


def spied(nat: NAT, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Everything the network is shown from now on."""
    seen: list[tuple[Tensor, Tensor]] = []
    forward = nat.forward

    def spy(tokens: Tensor, classes: Tensor, places: Tensor | None = None) -> Tensor:
        seen.append((tokens.clone(), classes.clone()))
        return forward(tokens, classes, places)

    monkeypatch.setattr(nat, "forward", spy)
    return seen


def test_tokens_are_words_and_the_generator_is_all_the_randomness(nat: NAT) -> None:
    tokens = run(nat, RULE)
    assert tokens.shape == (6, LENGTH)
    assert tokens.dtype == torch.int64
    assert tokens.min() >= 0
    assert tokens.max() < WORDS
    torch.manual_seed(99)
    assert torch.equal(tokens, run(nat, RULE))
    assert not torch.equal(tokens, run(nat, RULE, seed=1))


@pytest.mark.parametrize("ratios", [RULE.mask_ratio, (0.0, 0.9, 0.9), (0.99, 0.99, 0.99)])
def test_counts_fall_as_the_strategy_says_and_visible_tokens_stay(
    nat: NAT, ratios: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = dataclasses.replace(RULE, mask_ratio=ratios, guidance_scale=(0.0,) * 4)
    seen = spied(nat, monkeypatch)
    result = run(nat, strategy)
    shown = [tokens for tokens, _ in seen[1:]] + [result]
    for tokens, masked in zip(shown, strategy.masked_counts(LENGTH), strict=True):
        assert ((tokens == nat.mask_token).sum(1) == masked).all()
    for before, after in itertools.pairwise(shown):
        visible = before != nat.mask_token
        assert torch.equal(before[visible], after[visible])


def test_watching_changes_nothing_and_shows_each_step(nat: NAT) -> None:
    steps: list[tuple[Tensor, Tensor]] = []
    random = torch.Generator().manual_seed(0)
    conditions = Conditions(torch.arange(6) % CLASSES)
    watch = lambda *step: steps.append(step)  # noqa: E731
    found = generate(behind(nat), conditions, RULE, random, watch=watch)
    assert torch.equal(found, run(nat, RULE))
    left = [(tokens == nat.mask_token).sum(1) for _, tokens in steps]
    assert [set(masked.tolist()) for masked in left] == [{n} for n in RULE.masked_counts(LENGTH)]
    for sampled, tokens in steps:
        kept = tokens != nat.mask_token
        assert torch.equal(sampled[kept], tokens[kept])
        assert sampled.max() < WORDS
    assert torch.equal(steps[-1][1], found)


def test_unconditional_rows_only_where_guided_and_in_the_same_pass(
    nat: NAT, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = dataclasses.replace(RULE, guidance_scale=(0.5, 1e-4, 0.0, 1.0), guidance_floor=1e-4)
    seen = spied(nat, monkeypatch)
    run(nat, strategy)
    # Nothing is visible at the first step, so that a row a class and one null row will do.
    assert [len(tokens) for tokens, _ in seen] == [CLASSES, 1, 6, 6, 12]
    guided = [bool((classes == nat.null_class).any()) for _, classes in seen]
    assert guided == [False, *strategy.guided]
    tokens, classes = seen[-1]
    assert torch.equal(tokens[:6], tokens[6:])
    assert (classes[6:] == nat.null_class).all()


def test_a_cpu_sees_many_images_in_pieces_that_its_caches_hold(
    nat: NAT, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(nat, RULE, batch=300)
    seen = spied(nat, monkeypatch)
    monkeypatch.setattr(decoding, "CPU_TOKENS", 100 * LENGTH)
    assert torch.equal(run(nat, RULE, batch=300), whole)
    assert max(len(tokens) for tokens, _ in seen) == 100
    assert sum(len(tokens) for tokens, _ in seen) == CLASSES + 1 + 3 * 2 * 300


def test_texts_are_decoded_as_classes_are() -> None:
    torch.manual_seed(0)
    config = NATConfig(WORDS, LENGTH, None, width=16, depth=2, num_heads=2, context_width=5)
    nat = NAT(config).eval()
    prompts = six_prompts()
    nat.set_null_context(prompts.null)
    generator = NATGenerator(config, GreyLevels(WORDS, (4, 4)), prompts, nat)
    texts = generator.conditions_of(torch.arange(6))
    strategy = dataclasses.replace(RULE, guidance_scale=(0.5, 0.0, 0.0, 1.0))
    tokens = generate(generator, texts, strategy, torch.Generator().manual_seed(0))
    assert tokens.shape == (6, LENGTH)
    assert tokens.max() < WORDS
    other_way = generator.conditions_of(torch.arange(6).flip(0))
    again = generate(generator, other_way, strategy, torch.Generator().manual_seed(0))
    assert not torch.equal(tokens, again)
    null = generator.null(texts)
    assert torch.equal(null.parts[0], nat.null_context.expand(6, 3, 5))
    # Guidance towards no text leads nowhere.
    plain = dataclasses.replace(RULE, guidance_scale=(0.0,) * 4)
    one, other = (
        generate(generator, null, s, torch.Generator().manual_seed(1)) for s in (plain, RULE)
    )
    assert torch.equal(one, other)
    with pytest.raises(
        ValueError, match=r"expected a null context of shape \(C, 5\), got \(3, 4\)"
    ):
        nat.set_null_context(torch.zeros(3, 4))


def test_guidance_that_rounding_left_costs_nothing_and_changes_nothing(nat: NAT) -> None:
    """In float32 1 + s is then 1, so the unconditional pass would be for nothing."""
    none = RULE.with_values({"guidance_scale": (0.0,) * 4})
    left = RULE.with_values({"guidance_scale": (2.2e-16, 0.0, 1e-15, 2.0**-24)})
    assert left.forward_passes() == none.forward_passes() == 4
    assert torch.equal(run(nat, left), run(nat, none))
    one, other = torch.randn(2, 1000)
    assert torch.equal(torch.lerp(one, other, 1 + 2.0**-24), other)


def test_guidance_at_the_floor_is_no_guidance(nat: NAT) -> None:
    floor = dataclasses.replace(RULE, guidance_scale=(1e-4,) * 4, guidance_floor=1e-4)
    assert torch.equal(
        run(nat, floor), run(nat, dataclasses.replace(RULE, guidance_scale=(0.0,) * 4))
    )


@pytest.mark.parametrize(
    "strategy",
    [
        RULE,
        dataclasses.replace(RULE, guidance_scale=(0.0,) * 4),
        dataclasses.replace(RULE, sampling_temperature=(0.0,) * 4, remask_temperature=(0.0,) * 3),
    ],
)
def test_every_strategy_draws_the_same_amount_of_noise(
    nat: NAT, strategy: GenerationStrategy
) -> None:
    generator = torch.Generator().manual_seed(3)
    generate(behind(nat), Conditions(torch.zeros(5, dtype=torch.int64)), strategy, generator)
    plain = torch.Generator().manual_seed(3)
    for _ in range(4):
        torch.rand((2, 5, LENGTH), generator=plain)
    assert torch.equal(generator.get_state(), plain.get_state())


@pytest.mark.parametrize("order", ["confidence", "random", "halton"])
def test_an_image_whose_logits_are_not_finite_is_masked_and_no_other(
    nat: NAT, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    strategy = dataclasses.replace(RULE, token_order=order)
    expected, forward = run(nat, strategy), nat.forward

    def diverged(tokens: Tensor, classes: Tensor, places: Tensor | None = None) -> Tensor:
        logits = forward(tokens, classes, places)
        return logits.masked_fill((classes == 1)[:, None, None], torch.nan)

    monkeypatch.setattr(nat, "forward", diverged)
    found, strange = run(nat, strategy), torch.arange(6) % CLASSES == 1
    assert (found[strange] == nat.mask_token).all()
    assert torch.equal(found[~strange], expected[~strange])


def test_one_step_and_as_many_steps_as_tokens(nat: NAT) -> None:
    one = GenerationStrategy((), (), (1.0,), (0.0,))
    for strategy in (one, GenerationStrategy.maskgit(LENGTH)):
        assert (run(nat, strategy) < WORDS).all()
    with pytest.raises(ValueError, match="T = 17 steps, but the image has only 16 tokens"):
        run(nat, GenerationStrategy.maskgit(LENGTH + 1))


def test_strategies_of_one_seed_share_their_noise(nat: NAT) -> None:
    one = run(nat, RULE, batch=60)
    nudged = dataclasses.replace(RULE, sampling_temperature=(1.001,) * 4)
    changed = (run(nat, nudged, batch=60) != one).float().mean()
    fresh = (run(nat, RULE, seed=1, batch=60) != one).float().mean()
    assert 5 * changed < fresh


def test_confidence_is_the_log_probability_not_tempered_plus_gumbel_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    n = 200_000
    logits = torch.randn((1, 1, WORDS), generator=generator).expand(1, n, WORDS)
    sampled = torch.full((1, n), 2)
    uniforms = torch.rand((1, n), generator=generator)
    plain = torch.log_softmax(logits, -1)[..., 2]
    torch.testing.assert_close(confidences(logits, sampled, 0.0, uniforms), plain)
    noise = (confidences(logits, sampled, 3.0, uniforms) - plain) / 3
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert noise.std() == pytest.approx(1.2825, abs=0.02)  # pi / sqrt(6)
    ends = confidences(logits[:, :2], sampled[:, :2], 1.0, torch.tensor([[0.0, 1 - 2**-24]]))
    assert ends.isfinite().all()
