"""The first step from logits that are kept is the first step of a forward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.decoding import generate
from models.first_step import KeepsFirstStep
from models.generators.conditions import Conditions
from models.generators.generator import PredictsPlaces
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.schedule_scores import generate_scored
from models.tokenizers.decoder import GreyLevels
from search.controls import published

CONFIG = NATConfig(17, 16, 10, 8, 0, 2)


class Counting(NATGenerator):
    """Counts the images of its forward passes."""

    seen = 0

    def __call__(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        self.seen += len(tokens)
        return super().__call__(tokens, conditions)

    def logits_at(self, tokens: Tensor, conditions: Conditions, places: Tensor) -> Tensor:
        self.seen += len(tokens)
        return super().logits_at(tokens, conditions, places)


@pytest.mark.parametrize("guided", [False, True])
def test_tokens_are_the_same_and_the_first_pass_is_saved(guided: bool) -> None:
    torch.manual_seed(0)
    generator = Counting(CONFIG, GreyLevels(17, (4, 4)), nat=NAT(CONFIG).eval())
    strategy = published(4).with_values({"guidance_scale": [2.0 if guided else 0.0] * 4})
    conditions = Conditions(torch.tensor([3, 3, 9, 0, 1, 7, 4]))
    expected = generate(generator, conditions, strategy, torch.Generator().manual_seed(1))
    without = generator.seen
    keeping = KeepsFirstStep(generator, Conditions(torch.arange(10)), 4)
    assert isinstance(keeping, PredictsPlaces)
    generator.seen = 0
    found = generate(keeping, conditions, strategy, torch.Generator().manual_seed(1))
    assert torch.equal(found, expected)
    assert without - generator.seen == 6 + guided  # the distinct conditions, and the null one


def test_with_scores_they_are_the_same_too() -> None:
    torch.manual_seed(0)
    generator = Counting(CONFIG, GreyLevels(17, (4, 4)), nat=NAT(CONFIG).eval())
    conditions, strategy = Conditions(torch.tensor([3, 3, 9, 0])), published(4)
    expected = generate_scored(generator, conditions, strategy, torch.Generator().manual_seed(1))
    without = generator.seen
    keeping = KeepsFirstStep(generator, Conditions(torch.arange(10)), 4)
    generator.seen = 0
    found = generate_scored(keeping, conditions, strategy, torch.Generator().manual_seed(1))
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.scores, expected.scores)
    assert without - generator.seen == 3 + 1  # the distinct conditions, and the null one
