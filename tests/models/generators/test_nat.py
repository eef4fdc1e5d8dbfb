"""What a NAT is conditioned on, classes or texts, and which positions it predicts."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Any

import pytest
import torch

from models.generators.nat import NAT, NATConfig
from models.training.checkpoints import settings_hash

CLASSES = NATConfig(5, 9, 2, width=16, depth=2, num_heads=2)
TEXTS = NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=4)
CC3M = NATConfig(1024, 256, None, width=1152, depth=28, num_heads=16, context_width=1280)


@pytest.fixture
def nat() -> NAT:
    torch.manual_seed(0)
    return NAT(TEXTS).eval()


def masked(batch: int) -> torch.Tensor:
    return torch.full((batch, 9), 5)


def test_the_sizes_of_class_models_are_named_as_they_always_were() -> None:
    told = CLASSES.to_json()
    assert told == {name: v for name, v in asdict(CLASSES).items() if name != "context_width"}
    assert settings_hash(told) == "26383c55fafd49d4"  # before there were texts
    assert "num_classes" not in TEXTS.to_json()
    for config in (CLASSES, TEXTS):
        assert NATConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"context_width": None},
            "expected either .*, got num_classes = None and context_width = None",
        ),
        ({"num_classes": 3}, "expected either .*, got num_classes = 3 and context_width = 4"),
        ({"context_width": 0}, "context_width = 0 is not a positive integer"),
        ({"context_width": 4.0}, r"context_width = 4\.0 is not a positive integer"),
    ],
)
def test_a_nat_takes_a_class_or_a_text(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        dataclasses.replace(TEXTS, **changes)


@torch.inference_mode()
def test_every_state_of_a_text_is_seen_and_none_is_predicted(nat: NAT) -> None:
    texts = torch.randn(2, 3, 4)
    logits = nat(masked(2), texts)
    assert logits.shape == (2, 9, 5)
    for place in range(3):
        other = texts.clone()
        other[:, place] += 1
        assert not torch.allclose(nat(masked(2), other), logits)
    # Texts of any length, and their states have no positions of their own.
    torch.testing.assert_close(nat(masked(2), texts.flip(1)), logits)
    assert nat(masked(2), torch.randn(2, 7, 4)).shape == logits.shape


@pytest.mark.parametrize("config", [CLASSES, TEXTS, dataclasses.replace(CLASSES, depth=0)])
def test_some_positions_alone_have_the_logits_that_they_have_among_all(config: NATConfig) -> None:
    torch.manual_seed(0)
    nat = NAT(config).eval()
    tokens = torch.randint(6, (3, 9))
    texts = config.context_width is not None
    conditions = torch.randn(3, 6, 4) if texts else torch.tensor([0, 2, 1])
    places = torch.tensor([[8, 0, 3], [1, 1, 2], [4, 5, 6]])
    with torch.inference_mode():
        whole, some = nat(tokens, conditions), nat(tokens, conditions, places)
    expected = torch.stack([row[at] for row, at in zip(whole, places, strict=True)])
    torch.testing.assert_close(some, expected)


def test_conditions_are_dropped_image_by_image(nat: NAT) -> None:
    texts, null = torch.randn(3, 2, 4), torch.randn(2, 4)
    nat.set_null_context(null)
    seen = nat.without(texts, torch.tensor([False, True, False]))
    assert torch.equal(seen, torch.stack([texts[0], null, texts[2]]))
    classes = NAT(CLASSES).without(torch.tensor([0, 1, 1]), torch.tensor([False, True, False]))
    assert classes.tolist() == [0, 2, 1]


def test_the_null_context_is_not_of_the_weights(nat: NAT) -> None:
    names = set(nat.state_dict())
    nat.set_null_context(torch.zeros(2, 4))
    assert set(nat.state_dict()) == names
    assert {n: tuple(t.shape) for n, t in nat.state_dict().items() if n.startswith("context")} == {
        "context_embed.weight": (16, 4),
        "context_embed.bias": (16,),
    }


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((2, 3, 5), r"texts, of shape \(B, C, 4\), got conditions of shape \(2, 3, 5\)"),
        ((2, 4), r"expected texts, .* got conditions of shape \(2, 4\)"),
        ((2,), r"expected texts, .* got conditions of shape \(2,\)"),
    ],
)
def test_texts_of_another_shape_are_one_line(nat: NAT, shape: tuple[int, ...], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        nat(masked(2), torch.zeros(shape))


def test_texts_are_no_classes() -> None:
    with pytest.raises(ValueError, match=r"expected classes, of shape \(B,\), got .* \(2, 3, 4\)"):
        NAT(CLASSES)(masked(2), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="a NAT that takes classes has no null context"):
        NAT(CLASSES).set_null_context(torch.zeros(3, 4))


def test_guidance_needs_a_null_context_of_the_texts_shape(nat: NAT) -> None:
    with pytest.raises(ValueError, match="no null context is set"):
        nat.null(torch.zeros(2, 3, 4))
    nat.set_null_context(torch.zeros(1, 4))  # it would broadcast
    with pytest.raises(ValueError, match=r"null context's shape \(1, 4\), got .* \(2, 3, 4\)"):
        nat.null(torch.zeros(2, 3, 4))


def test_the_cc3m_model_has_its_size() -> None:
    with torch.device("meta"):
        nat = NAT(CC3M)
    assert sum(p.numel() for p in nat.parameters()) == 503_628_929
    assert tuple(nat.context_embed.weight.shape) == (1152, 1280)
