"""Tokens follow the tempered distribution, whatever the logits are."""

from __future__ import annotations

import pytest
import torch

from models.sampling import sample_tokens

WORDS = 7


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_tempered_distribution(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(WORDS, generator=generator)
    n = 200_000
    uniforms = torch.rand((1, n), generator=generator)
    sampled = sample_tokens(logits.expand(1, n, WORDS), temperature, uniforms)
    found = sampled[0].bincount(minlength=WORDS) / n
    torch.testing.assert_close(found, torch.softmax(logits / temperature, 0), atol=0.005, rtol=0)


def test_the_ends_of_the_uniforms_are_possible_tokens() -> None:
    # The first and the last token are impossible, so no uniform may land on them.
    logits = torch.tensor([-torch.inf, 0.0, 1.0, -torch.inf]).expand(1, 2, 4)
    uniforms = torch.tensor([[0.0, 1 - 2**-24]])
    assert sample_tokens(logits, 1.0, uniforms).tolist() == [[1, 2]]
    assert sample_tokens(logits, 0.0, uniforms).tolist() == [[2, 2]]
    nearly_equal = torch.tensor([[[0.0, 1e-6, 0.0]]])  # no noise may decide here
    assert sample_tokens(nearly_equal, 0.0, torch.zeros(1, 1)).tolist() == [[1]]


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_what_is_not_a_number_is_no_token(temperature: float) -> None:
    one_nan = torch.tensor([[[0.0, torch.nan, 1.0]]])
    assert sample_tokens(one_nan, temperature, torch.full((1, 1), 0.3)).tolist() == [[3]]
