from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from models import schedule_scores
from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.schedule_scores import FORECASTS, generate_scored
from models.token_orders import EVENNESS, gumbel, halton_order
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy

LENGTH, WORDS = 3, 2
MASK, NULL = WORDS, 1
GRID = (1, LENGTH)
IMAGES = 60_000


class Table:
    """A generator whose logits are a table: one row for each condition and state of the image."""

    tokens, grid, codebook_size, mask_token, num_conditions = LENGTH, GRID, WORDS, MASK, 1

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(1)
        shape = (2, (WORDS + 1) ** LENGTH, LENGTH, WORDS)
        self.table = 1.5 * torch.randn(shape, generator=random)

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        states = (tokens * (WORDS + 1) ** torch.arange(LENGTH)).sum(1)
        return self.table[conditions.parts[0], states]

    def conditions_of(self, drawn: Tensor) -> Conditions:
        return Conditions(drawn)

    def null(self, conditions: Conditions) -> Conditions:
        return Conditions(torch.full_like(conditions.parts[0], NULL))

    def decode(self, tokens: Tensor) -> Tensor:
        return tokens.float()

    def flops(self) -> Mapping[str, int]:
        return {}

    def hash(self) -> str:
        return ""

    def to(self, device: str | torch.device) -> Table:
        return self


TABLE = Table()
WORTH = torch.randn(WORDS**LENGTH, generator=torch.Generator().manual_seed(5)).double()


def worth(tokens: Tensor) -> Tensor:
    """An arbitrary function of an image."""
    return WORTH[(tokens * WORDS ** torch.arange(LENGTH)).sum(-1)]


def expected_worth(strategy: GenerationStrategy, logs: Tensor) -> Tensor:
    """The exact expectation: the sum over all tokens and all orders, at all steps.

    logs holds the logs of the temperatures and the guidance scales, as scores do.
    """
    steps = strategy.steps
    warmth, noise, scale = torch.split(logs, [steps, steps - 1, steps])
    counts = strategy.masked_counts(LENGTH)

    spread = strategy.token_order == "confidence-spread"
    turns = torch.from_numpy(np.argsort(halton_order(GRID)))
    sharp = (1 + EVENNESS**2) ** 0.5 if spread else 1.0

    def value(state: tuple[int, ...], t: int) -> Tensor:
        if not spread:
            return value_with(torch.zeros(LENGTH), state, t)
        lates = [(turns + start) % LENGTH for start in range(LENGTH)]
        evens = [EVENNESS * gumbel((LENGTH - late - 0.5) / LENGTH) for late in lates]
        return torch.stack([value_with(even, state, t) for even in evens]).mean()

    def value_with(even: Tensor, state: tuple[int, ...], t: int) -> Tensor:
        tokens = torch.tensor([state])
        cond, null = (TABLE(tokens, Conditions(torch.tensor([c])))[0].double() for c in (0, NULL))
        logits = null + (1 + scale[t]) * (cond - null)
        log_p = torch.log_softmax(logits / warmth[t].exp(), -1)
        rated = strategy.confidence == "log_probability"
        confidence = torch.log_softmax(logits, -1) if rated else logits
        masked = [i for i in range(LENGTH) if state[i] == MASK]
        total = torch.zeros(()).double()
        for words in itertools.product(range(WORDS), repeat=len(masked)):
            drawn = dict(zip(masked, words, strict=True))
            log = torch.stack([log_p[i, x] for i, x in drawn.items()]).sum()
            full = [drawn.get(i, state[i]) for i in range(LENGTH)]
            if counts[t] == 0:
                total = total + log.exp() * worth(torch.tensor(full))
                continue
            rate = {
                i: sharp * confidence[i, x] / noise[t].exp() + even[i] for i, x in drawn.items()
            }
            for order in itertools.permutations(masked, len(masked) - counts[t]):
                rest, chosen = list(masked), log
                for i in order:
                    chosen = chosen + rate[i] - torch.stack([rate[j] for j in rest]).logsumexp(0)
                    rest.remove(i)
                left = tuple(MASK if i in rest else full[i] for i in range(LENGTH))
                total = total + chosen.exp() * value(left, t + 1)
        return total

    return value((MASK,) * LENGTH, 0)


def one_class(images: int) -> Conditions:
    return Conditions(torch.zeros(images, dtype=torch.int64))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


THREE = GenerationStrategy((0.7, 0.4), (0.8, 0.3), (0.9, 1.3, 0.7), (0.5, 0.0, 1.2))
TWO_KEPT = GenerationStrategy((0.4,), (0.5,), (0.9, 1.3), (0.5, 0.3))
TWO_LEFT = GenerationStrategy((0.7,), (3.0,), (1.2, 0.6), (0.0, 1.0))


@pytest.mark.parametrize("strategy", [THREE, TWO_KEPT, TWO_LEFT])
@pytest.mark.parametrize("confidence", ["log_probability", "logit"])
@pytest.mark.parametrize("order", ["confidence", "confidence-spread"])
def test_worth_times_score_is_the_derivative_of_the_enumerated_expectation(
    strategy: GenerationStrategy, confidence: str, order: str
) -> None:
    strategy = dataclasses.replace(strategy, confidence=confidence, token_order=order)
    temperatures = (*strategy.sampling_temperature, *strategy.remask_temperature)
    logs = torch.cat(
        [torch.tensor(temperatures).double().log(), torch.tensor(strategy.guidance_scale).double()]
    ).requires_grad_()
    expected = expected_worth(strategy, logs)
    expected.backward()  # type: ignore[no-untyped-call]
    assert logs.grad is not None
    found = generate_scored(TABLE, one_class(IMAGES), strategy, seeded())
    reward = worth(found.tokens)
    assert reward.mean() == pytest.approx(
        expected.item(), abs=float(4 * reward.std() / IMAGES**0.5)
    )
    products = (reward - expected.detach())[:, None] * found.scores.double()
    error = products.std(0) / IMAGES**0.5
    assert ((products.mean(0) - logs.grad).abs() < 4 * error).all()
    assert (error < 0.02).all()


def test_the_tokens_are_those_of_decoding() -> None:
    for order in ("confidence", "confidence-spread", "random"):
        strategy = dataclasses.replace(THREE, token_order=order)
        found = generate_scored(TABLE, one_class(50), strategy, seeded())
        assert torch.equal(found.tokens, generate(TABLE, one_class(50), strategy, seeded()))


@pytest.mark.parametrize("order", ["confidence", "confidence-spread", "random", "halton-rolled"])
def test_so_are_those_of_a_network_that_predicts_some_places_alone(order: str) -> None:
    torch.manual_seed(0)
    config = NATConfig(7, 16, 3, width=16, depth=2, num_heads=2)
    generator = NATGenerator(config, GreyLevels(7, (4, 4)), nat=NAT(config).eval())
    strategy = dataclasses.replace(
        GenerationStrategy.maskgit(5), token_order=order, guidance_scale=(0.0, 1.0, 0.0, 2.0, 1.0)
    )
    classes = Conditions(torch.arange(60) % 3)
    found = generate_scored(generator, classes, strategy, seeded())
    known = generate(generator, classes, strategy, seeded())
    assert (found.tokens == known).double().mean() > 0.99  # rounding, in Halton orders


def test_scores_have_mean_0_and_forecasts_do_not_tell_what_a_step_draws() -> None:
    found = generate_scored(TABLE, one_class(IMAGES), THREE, seeded())
    scores = found.scores.double()
    assert (scores.mean(0).abs() < 4 * scores.std(0) / IMAGES**0.5).all()
    assert len(found.forecasts) == FORECASTS < THREE.steps
    for t, tokens in enumerate(found.forecasts, THREE.steps - FORECASTS):
        products = scores[:, [t, 5 + t]] * worth(tokens)[:, None]
        assert (products.mean(0).abs() < 4 * products.std(0) / IMAGES**0.5).all()


def test_an_order_without_confidences_does_not_depend_on_remask_temperatures() -> None:
    random = dataclasses.replace(THREE, token_order="random")
    found = generate_scored(TABLE, one_class(100), random, seeded())
    assert (found.scores[:, 3:5] == 0).all()
    assert found.scores[:, [0, 1, 2, 5, 6, 7]].abs().sum(0).gt(0).all()


def test_derivatives_that_do_not_exist_are_nan_and_the_others_remain() -> None:
    cold = dataclasses.replace(THREE, sampling_temperature=(0.9, 0.0, 0.7))
    sure = dataclasses.replace(THREE, remask_temperature=(0.0, 0.3))
    for strategy, gone in ((cold, [1, 4, 6]), (sure, [3, 5])):
        found = generate_scored(TABLE, one_class(100), strategy, seeded())
        assert found.scores.isnan().all(0).nonzero()[:, 0].tolist() == gone
        assert found.scores.isnan().sum() == 100 * len(gone)


def test_scores_made_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate_scored(TABLE, one_class(50), THREE, seeded())
    monkeypatch.setattr(schedule_scores, "PIECE", 1)
    pieces = generate_scored(TABLE, one_class(50), THREE, seeded())
    assert torch.equal(pieces.tokens, whole.tokens)
    assert torch.allclose(pieces.scores, whole.scores, atol=1e-5)
