"""Batches of several strategies, decoded in the same forward passes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from models.decoding import Batch, generate, generate_together
from models.generators.conditions import Conditions
from models.generators.generator import PredictsPlaces
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy
from tests.models.prompts import six_prompts

LENGTH, WORDS, CLASSES = 16, 7, 3
RULE = GenerationStrategy.maskgit(4)
STRATEGIES = [
    RULE,
    dataclasses.replace(RULE, guidance_scale=(0.0,) * 4, mask_ratio=(0.9, 0.9, 0.1)),
    dataclasses.replace(RULE, guidance_scale=(0.0, 2.0, 0.0, 0.5)),
    dataclasses.replace(RULE, sampling_temperature=(0.0,) * 4, token_order="random"),
    dataclasses.replace(RULE, token_order="halton-rolled"),
    dataclasses.replace(RULE, token_order="halton", mask_ratio=(0.5, 0.5, 0.1)),
    GenerationStrategy.maskgit(7),
]


class Whole(NATGenerator):
    """Predicts all tokens of an image at once, and cannot predict some alone."""

    logits_at = None  # type: ignore[assignment]


@pytest.fixture(params=[NATGenerator, Whole], scope="module")
def generator(request: pytest.FixtureRequest) -> NATGenerator:
    config = NATConfig(WORDS, LENGTH, CLASSES, width=16, depth=2, num_heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: NATGenerator = request.param(config, GreyLevels(WORDS, (4, 4)), nat=NAT(config))
    made.nat.eval()
    return made


def batches(sizes: tuple[int, ...] = (6, 5, 4, 3, 7, 2, 8)) -> list[Batch]:
    """A batch of each strategy, each with noise and classes of its own."""
    found = []
    for number, (strategy, size) in enumerate(zip(STRATEGIES, sizes, strict=True)):
        random = torch.Generator().manual_seed(number)
        classes = torch.randint(CLASSES, (size,), generator=random)
        found.append(Batch(Conditions(classes), strategy, random))
    return found


def alone(generator: NATGenerator) -> list[Tensor]:
    return [generate(generator, b.conditions, b.strategy, b.random) for b in batches()]


def test_each_batch_by_itself_gives_its_tokens_to_the_last_one(generator: NATGenerator) -> None:
    assert isinstance(generator, PredictsPlaces) == (not isinstance(generator, Whole))
    found = generate_together(generator, batches())
    assert all(map(torch.equal, found, alone(generator)))


@pytest.mark.parametrize("rows", [1, 11, 1000])
def test_rows_of_all_batches_in_one_pass_give_the_tokens_up_to_rounding(
    generator: NATGenerator, rows: int
) -> None:
    found = generate_together(generator, batches(), rows)
    for one, other in zip(found, alone(generator), strict=True):
        assert (one == other).double().mean() > 0.9


def test_a_step_is_one_forward_pass_in_which_only_guided_rows_are_doubled(
    generator: NATGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = generator.nat.forward

    def spy(tokens: Tensor, classes: Tensor, places: Tensor | None = None) -> Tensor:
        seen.append(len(tokens))
        return forward(tokens, classes, places)

    monkeypatch.setattr(generator.nat, "forward", spy)
    some = [b for b in batches() if not b.strategy.token_order.startswith("halton")]
    generate_together(generator, some, 1000)
    sizes = [len(b.conditions) for b in some]
    expected = [CLASSES, 1]  # in the first step one row a class, and one of no class, for all
    for t in range(1, 7):
        going = [(b, n) for b, n in zip(some, sizes, strict=True) if t < b.strategy.steps]
        expected.append(sum(n * (1 + b.strategy.guided[t]) for b, n in going))
    assert seen == expected


@pytest.mark.parametrize("order", ["confidence", "random", "confidence-spread"])
def test_logits_are_asked_for_only_where_tokens_are_masked(
    generator: NATGenerator, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    forward = generator.nat.forward

    def spy(tokens: Tensor, classes: Tensor, places: Tensor) -> Tensor:
        seen.append((tokens, places))
        return forward(tokens, classes, places)

    strategy = dataclasses.replace(RULE, token_order=order)
    classes = Conditions(torch.arange(6) % CLASSES)
    whole = Whole(generator.config, generator.decoder, nat=generator.nat)
    expected = generate(whole, classes, strategy, torch.Generator().manual_seed(0))
    some = NATGenerator(generator.config, generator.decoder, nat=generator.nat)
    monkeypatch.setattr(some, "logits_at", lambda t, c, places: spy(t, c.parts[0], places))
    found = generate(some, classes, strategy, torch.Generator().manual_seed(0))
    assert torch.equal(found, expected)
    assert len(seen) == strategy.steps - 1  # all are masked in the first
    for tokens, places in seen:
        masked = (tokens == generator.mask_token).nonzero()[:, 1].view(len(tokens), -1)
        assert torch.equal(places, masked)


def test_texts_of_several_batches_are_joined() -> None:
    torch.manual_seed(0)
    config = NATConfig(WORDS, LENGTH, None, width=16, depth=2, num_heads=2, context_width=5)
    nat, prompts = NAT(config).eval(), six_prompts()
    nat.set_null_context(prompts.null)
    generator = NATGenerator(config, GreyLevels(WORDS, (4, 4)), prompts, nat)
    numbers = [torch.arange(6), torch.tensor([3, 1])]

    def texts() -> list[Batch]:
        sources = [torch.Generator().manual_seed(seed) for seed in range(2)]
        pairs = zip(numbers, STRATEGIES[1:3], sources, strict=True)
        return [Batch(generator.conditions_of(drawn), s, source) for drawn, s, source in pairs]

    together = generate_together(generator, texts(), 100)
    for batch, found in zip(texts(), together, strict=True):
        known = generate(generator, batch.conditions, batch.strategy, batch.random)
        assert (found == known).double().mean() > 0.9


def test_a_strategy_that_cannot_be_is_refused(generator: NATGenerator) -> None:
    long = Batch(Conditions(torch.zeros(2, dtype=torch.int64)), GenerationStrategy.maskgit(17))
    with pytest.raises(ValueError, match="T = 17 steps, but the image has only 16 tokens"):
        generate_together(generator, [*batches(), long])
