"""The conformance suite passes what keeps the promises and names what breaks one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from docs.extending.captioned import MASK, Captioned, K, L
from models.generators.conditions import Conditions
from models.generators.generator import MaskedGenerator
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.testing import check_generator
from models.tokenizers.decoder import GreyLevels
from tests.models.prompts import six_prompts


def nat_of_classes(seed: int) -> MaskedGenerator:
    return nat_generator(NATConfig(7, 16, 3, width=16, depth=2, num_heads=2), seed)


def nat_of_texts(seed: int) -> MaskedGenerator:
    config = NATConfig(7, 16, None, width=16, depth=2, num_heads=2, context_width=5)
    return nat_generator(config, seed)


def nat_generator(config: NATConfig, seed: int) -> MaskedGenerator:
    prompts = six_prompts() if config.context_width else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nat = NAT(config).eval()
    if prompts is not None:
        nat.set_null_context(prompts.null)
    return NATGenerator(config, GreyLevels(7, (4, 4)), prompts, nat)


KINDS: dict[str, Callable[[int], MaskedGenerator]] = {
    "NAT of classes": nat_of_classes,
    "NAT of texts": nat_of_texts,
    "somebody else's": Captioned,
}


@pytest.mark.parametrize("kind", KINDS)
def test_generators_keep_what_they_promise(kind: str) -> None:
    assert isinstance(KINDS[kind](0), MaskedGenerator)
    check_generator(KINDS[kind](0), KINDS[kind](1))


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("kind", KINDS)
def test_generators_keep_it_on_a_gpu(kind: str) -> None:
    check_generator(KINDS[kind](0), KINDS[kind](1))


def broken(**changed: Any) -> MaskedGenerator:
    """Somebody else's generator with one thing wrong."""
    return type("Broken", (Captioned,), changed)()  # type: ignore[no-any-return]


class Counts(Captioned):
    """Its logits change from call to call."""

    calls = 0

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        self.calls += 1
        return super().__call__(tokens, conditions) + self.calls


def with_neighbours(self: Captioned, tokens: Tensor, conditions: Conditions) -> Tensor:
    logits = Captioned.__call__(self, tokens, conditions)
    return logits + logits.mean(0)


def with_mask_column(self: Captioned, tokens: Tensor, conditions: Conditions) -> Tensor:
    logits = Captioned.__call__(self, tokens, conditions)
    return torch.cat([logits, logits[..., :1]], -1)


def of_two_parts(self: Captioned, conditions: Conditions) -> Conditions:
    return Conditions(*Captioned.null(self, conditions).parts[:2])


def of_another_size(self: Captioned, conditions: Conditions) -> Conditions:
    return Captioned.null(self, conditions)[:1]


BROKEN: dict[str, tuple[Callable[[], MaskedGenerator], str]] = {
    "mask inside": (lambda: broken(mask_token=3), "mask_token = 3, expected a number outside"),
    "no grid of it": (lambda: broken(grid=(5, 5)), r"grid = \(5, 5\), expected .* 12 tokens"),
    "tokens in floats": (lambda: broken(tokens=12.0), "tokens = 12.0, expected an int"),
    "flops": (
        lambda: broken(flops=lambda self: {"all": 3}),
        "'all': 3, expected ints for 'pass' and",
    ),
    "mask column": (
        lambda: broken(__call__=with_mask_column),
        rf"logits have the shape \(5, {L}, {K + 1}\), expected \(5, {L}, {K}\)",
    ),
    "not the same twice": (Counts, "is it in evaluation mode"),
    "neighbours": (lambda: broken(__call__=with_neighbours), "logits of one image alone differ"),
    "null of two parts": (lambda: broken(null=of_two_parts), "null has parts"),
    "null of one": (lambda: broken(null=of_another_size), "null returned 1 conditions, expected 5"),
    "null that differs": (
        lambda: broken(null=lambda self, c: c),
        "the null conditions of different images differ",
    ),
    "white above 1": (
        lambda: broken(decode=lambda self, tokens: 2 * Captioned.decode(self, tokens)),
        r"expected \[0, 1\]",
    ),
    "flat images": (
        lambda: broken(decode=lambda self, tokens: Captioned.decode(self, tokens).flatten(1)),
        r"images have the shape \(5, 108\)",
    ),
    "no finite logits": (
        lambda: broken(__call__=lambda self, t, c: Captioned.__call__(self, t, c) * math.nan),
        "logits are not all finite",
    ),
    "no hash": (lambda: broken(hash=lambda self: "me"), "hash\\(\\) = 'me', expected"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_named(fault: str) -> None:
    make, line = BROKEN[fault]
    with pytest.raises(AssertionError, match=line):
        check_generator(make())


def test_weights_that_the_hash_does_not_tell_apart() -> None:
    with pytest.raises(AssertionError, match="with other weights has the same hash"):
        check_generator(Captioned(0), Captioned(0))


def test_the_mask_token_need_not_be_the_next_after_the_codes() -> None:
    assert MASK > K
