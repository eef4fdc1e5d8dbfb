"""Against what the public code computed, in its own file format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.generators.published import load_nat
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy

DATA = Path(__file__).parents[1] / "files"
HEADS = 4


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    with np.load(DATA / "nat_expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def nat() -> NAT:
    return load_nat(DATA / "nat.pth", HEADS)


def state() -> dict[str, Tensor]:
    content: dict[str, Tensor] = torch.load(DATA / "nat.pth", weights_only=True)
    return content


def test_sizes_come_from_the_shapes(nat: NAT) -> None:
    assert nat.config == NATConfig(48, 256, 10, 48, 4, HEADS)
    assert (nat.mask_token, nat.null_class) == (48, 10)
    assert not nat.training


@torch.inference_mode()
def test_logits_are_the_public_ones(nat: NAT, expected: dict[str, Tensor]) -> None:
    classes = expected["classes"][:, 0]
    for name, seen in (
        ("logits", classes),
        ("null_logits", torch.full_like(classes, nat.null_class)),
    ):
        torch.testing.assert_close(nat(expected["ids"], seen), expected[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [4, 8])
def test_greedy_tokens_are_the_public_ones(
    nat: NAT, expected: dict[str, Tensor], steps: int
) -> None:
    lists = json.loads((DATA / "nat.json").read_text())[f"strategy_t{steps}"]
    strategy = GenerationStrategy(
        lists["manual_ratios"], lists["manual_temp"], lists["manual_samp_temp"], lists["manual_cfg"]
    )
    generator = NATGenerator(nat.config, GreyLevels(48, (16, 16)), nat=nat)
    tokens = generate(generator, Conditions(expected["classes"][:, 0]), strategy)
    assert torch.equal(tokens, expected[f"greedy_tokens_t{steps}"].flatten(1))


def test_autonat_l_has_the_published_names_and_shapes() -> None:
    published = json.loads((DATA / "autonat_l_state_dict.json").read_text())
    with torch.device("meta"):
        large = NAT(NATConfig(1024, 256, 1000, width=768, depth=24, num_heads=8))
    assert {name: list(t.shape) for name, t in large.state_dict().items()} == published


def test_a_state_dict_under_the_key_state_dict_is_read(nat: NAT, tmp_path: Path) -> None:
    torch.save({"state_dict": state(), "epoch": 3}, tmp_path / "nat.pth")
    loaded = load_nat(tmp_path / "nat.pth", HEADS)
    for name, tensor in nat.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def _lacking(tensors: dict[str, Any]) -> None:
    del tensors["norm.weight"]


def _unexpected(tensors: dict[str, Any]) -> None:
    tensors["extra.weight"] = torch.zeros(2)


def _misshapen(tensors: dict[str, Any]) -> None:
    tensors["norm.bias"] = torch.zeros(5)


def _no_words(tensors: dict[str, Any]) -> None:
    del tensors["token_emb.word_embeddings.weight"]


def _no_tensor(tensors: dict[str, Any]) -> None:
    tensors["norm.bias"] = 3


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_lacking, "lacks norm.weight"),
        (_unexpected, "has the unexpected extra.weight"),
        (_misshapen, r"norm.bias: expected the shape \(48,\), got \(5,\)"),
        (_no_words, "not a NAT checkpoint: it lacks token_emb.word_embeddings.weight"),
        (_no_tensor, "'norm.bias' is not a tensor"),
    ],
)
def test_another_state_dict_is_one_line(spoil: Any, line: str, tmp_path: Path) -> None:
    tensors: dict[str, Any] = state()
    spoil(tensors)
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other.pth: .*{line}") as caught:
        load_nat(tmp_path / "other.pth", HEADS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."]
)
def test_a_file_that_is_no_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"x.pth: not a") as caught:
        load_nat(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


class Malicious:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({**state(), "x": Malicious(trap)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x.pth: not a checkpoint of tensors"):
        load_nat(tmp_path / "x.pth", HEADS)
    assert not trap.exists()
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert trap.exists()  # the trap works


def test_a_missing_file_and_a_wrong_number_of_heads_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        load_nat(tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="width = 48 is not a multiple of num_heads = 7"):
        load_nat(DATA / "nat.pth", num_heads=7)
    with pytest.raises(ValueError, match="num_heads = 0 is not a positive integer"):
        load_nat(DATA / "nat.pth", num_heads=0)


def test_no_number_of_heads_is_assumed_but_the_published_ones(tmp_path: Path) -> None:
    line = r"expected a number for a network of width 48; known: 8 at width 512, 8 at width"
    with pytest.raises(ValueError, match=line):
        load_nat(DATA / "nat.pth")
    config = NATConfig(5, 9, 2, width=512, depth=0, num_heads=8, mlp_ratio=1)
    torch.save(NAT(config).state_dict(), tmp_path / "small.pth")
    assert load_nat(tmp_path / "small.pth").config == config


def test_a_checkpoint_that_takes_texts_is_known_by_its_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = NATConfig(5, 9, None, width=16, depth=2, num_heads=HEADS, context_width=6)
    mine = NAT(config).eval()
    mine.set_null_context(torch.zeros(3, 6))
    torch.save(mine.state_dict(), tmp_path / "text.pth")
    loaded = load_nat(tmp_path / "text.pth", HEADS)
    assert loaded.config == config
    assert loaded.null_context is None  # the published files have none
    tokens, texts = torch.full((2, 9), 5), torch.randn(2, 3, 6)
    with torch.inference_mode():
        assert torch.equal(loaded(tokens, texts), mine(tokens, texts))
    for name, line in (
        ("context_embed.bias", "lacks context_embed.bias"),
        ("context_embed.weight", "it lacks context_embed.word_embeddings.weight"),
    ):
        tensors = {k: v for k, v in mine.state_dict().items() if k != name}
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=rf"other.pth: .*{line}"):
            load_nat(tmp_path / "other.pth", HEADS)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"ema": s, "model": {}}])
def test_a_public_text_checkpoint_with_its_buffer(wrap: Any, tmp_path: Path) -> None:
    """MUSE's and AdaNAT's hold position numbers; their own loaders drop them."""
    config = NATConfig(5, 9, None, width=16, depth=2, num_heads=HEADS, context_width=6)
    mine = NAT(config).state_dict()
    mine["token_emb.position_ids"] = torch.arange(9)[None]
    torch.save(wrap({f"module.{name}": t for name, t in mine.items()}), tmp_path / "text.pth")
    assert load_nat(tmp_path / "text.pth", HEADS).config == config
