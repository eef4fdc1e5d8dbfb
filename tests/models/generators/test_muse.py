"""MUSE-Pytorch's networks, in its own files, against what its code computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.muse import HEADS, as_nat, load_muse
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.generators.published import (
    config_from_shapes,
    load_nat,
    nat_from_state_dict,
)
from models.generators.registry import load_generator
from models.testing import check_generator
from models.tokenizers.decoder import GreyLevels
from tests.models.prompts import six_prompts
from tests.reference.published import muse_strategy

REFERENCE = Path(__file__).parents[2] / "reference" / "muse"
FILES = Path(__file__).parents[1] / "files"
VQGAN = f"vqgan:{FILES / 'vqgan.ckpt'}"


def expected(name: str) -> dict[str, Tensor]:
    with np.load(REFERENCE / f"{name}_expected.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@torch.inference_mode()
def test_logits_of_the_class_network_are_its_own() -> None:
    found = expected("muse_class")
    nat = load_muse(REFERENCE / "muse_class.pth", 48, 4)
    assert nat.config == NATConfig(48, 64, 10, width=48, depth=4, num_heads=4)
    classes = found["classes"][:, 0]
    for name, seen in (("logits", classes), ("null_logits", nat.null(classes))):
        torch.testing.assert_close(nat(found["ids"], seen), found[name], atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("load", [load_muse, None])
def test_logits_of_the_text_network_are_its_own(load: Any) -> None:
    found, path = expected("muse_text"), REFERENCE / "muse_text.pth"
    nat = load_nat(path, 4) if load is None else load(path, 48, 4)
    nat.set_null_context(found["null_states"][0])
    states = found["states"]
    for name, seen in (("logits", states), ("null_logits", nat.null(states))):
        torch.testing.assert_close(nat(found["ids"], seen), found[name], atol=1e-4, rtol=0)


def test_every_kind_reads_a_text_network_with_its_published_heads(tmp_path: Path) -> None:
    config = NATConfig(5, 4, None, width=1152, depth=2, num_heads=16, mlp_ratio=1, context_width=6)
    torch.save(NAT(config).state_dict(), tmp_path / "nnet_ema.pth")
    for nat in (load_muse(tmp_path / "nnet_ema.pth", 5), load_nat(tmp_path / "nnet_ema.pth")):
        assert nat.config == config


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("scale", [0, 3])
def test_greedy_tokens_are_its_own(steps: int, scale: float) -> None:
    found = expected("muse_class")
    nat = load_muse(REFERENCE / "muse_class.pth", 48, 4)
    generator = NATGenerator(nat.config, GreyLevels(48, (8, 8)), nat=nat)
    classes = Conditions(found["classes"][:, 0])
    tokens = generate(generator, classes, muse_strategy(steps, scale, temperature=0.0))
    assert torch.equal(tokens, found[f"greedy_tokens_t{steps}_s{scale}"].flatten(1))


def test_it_keeps_the_promises_of_a_generator() -> None:
    generator = load_generator(f"muse:{REFERENCE / 'muse_class.pth'}", tokenizer=VQGAN, num_heads=4)
    assert (generator.tokens, generator.grid, generator.num_conditions) == (64, (8, 8), 10)
    check_generator(generator)
    nat = load_muse(REFERENCE / "muse_text.pth", 48, 4)
    texts = six_prompts(nat.config.context_width)
    nat.set_null_context(texts.null)
    check_generator(NATGenerator(nat.config, GreyLevels(48, (8, 8)), texts, nat))


@pytest.mark.parametrize(
    ("width", "depth", "words", "context", "parameters"),
    [(768, 12, 2026, None, 101_545_450), (1152, 28, 1025, 1280, 503_628_929)],
)
def test_the_published_sizes(
    width: int, depth: int, words: int, context: int | None, parameters: int
) -> None:
    """102 and 501 million parameters are published; no names of theirs are left over."""
    heads = HEADS[width]
    config = NATConfig(
        *(1024, 256, None if context else 1000),
        width=width,
        depth=depth,
        num_heads=heads,
        context_width=context,
    )
    with torch.device("meta"):
        state = NAT(config).state_dict()
        if context is None:
            state = {n: t for n, t in state.items() if not n.startswith("context_embed.")}
            state["token_emb.word_embeddings.weight"] = torch.empty(words, width)
            state["token_emb.position_embeddings.weight"] = torch.empty(257, width)
            state["mlm_layer.bias"] = torch.empty(1, 1, words)
        count = sum(t.numel() for t in state.values())
        found = as_nat(state, 1024) if context is None else state
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        nat = nat_from_state_dict(found, config_from_shapes(shapes, heads))
    assert nat.config == config
    assert count == parameters


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "num_heads: expected a number for a network of width 48; known: 12 at width 768"),
        ({"num_heads": 7}, "width = 48 is not a multiple of num_heads = 7"),
        ({"num_heads": 4, "prompts": "x"}, "a network that takes classes: leave out prompts"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        load_generator(f"muse:{REFERENCE / 'muse_class.pth'}", tokenizer=VQGAN, **settings)


def test_what_a_tokenizer_makes_of_the_words_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Codes and classes share a table, so that a tokenizer with fewer codes would pass unseen."""
    load_generator(f"muse:{REFERENCE / 'muse_class.pth'}", tokenizer=VQGAN, num_heads=4)
    assert "of its 60 words, 48 are taken for codes, as the tokenizer has, and 10 for" in (
        caplog.text
    )


def test_a_tensor_that_is_missing_has_its_own_name(tmp_path: Path) -> None:
    state = torch.load(REFERENCE / "muse_class.pth", weights_only=True)
    del state["token_emb.LayerNorm.bias"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="it lacks token_emb.LayerNorm.bias$"):
        load_muse(tmp_path / "x.pth", 48, 4)


def test_files_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    titok = REFERENCE.parent / "titok"
    tokenizer = f"titok:{titok / 'titok_tokenizer.bin'}"
    with pytest.raises(ValueError, match="titok_vit.bin: expected a checkpoint of the kind muse"):
        load_generator(f"muse:{titok / 'titok_vit.bin'}", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="muse_class.pth: expected a checkpoint of the kind titok"):
        load_generator(f"titok:{REFERENCE / 'muse_class.pth'}", tokenizer=VQGAN)
    for given in ("a dog", str(REFERENCE), str(REFERENCE / "muse_text.json")):
        with pytest.raises(ValueError, match="^prompts: expected a folder of token data with emb"):
            load_generator(
                f"muse:{REFERENCE / 'muse_text.pth'}", tokenizer=VQGAN, num_heads=4, prompts=given
            )
    with pytest.raises(ValueError, match="'/nope.pth': No such file or directory"):
        load_generator("/nope.pth", tokenizer=VQGAN)
    with pytest.raises(ValueError, match="is unknown; known: .*, or package.module:make of your"):
        load_generator("my_package.my_generator")
    (tmp_path / "tokenize.json").write_text("{}")
    with pytest.raises(ValueError, match="not all of its images are tokenised yet"):
        load_generator(
            f"muse:{REFERENCE / 'muse_text.pth'}", tokenizer=VQGAN, num_heads=4, prompts=tmp_path
        )
    with pytest.raises(ValueError, match="a network that takes texts: give prompts"):
        load_generator(f"muse:{REFERENCE / 'muse_text.pth'}", tokenizer=VQGAN, num_heads=4)
    with pytest.raises(ValueError, match="expected 59 codes .* a class and the null class, got 60"):
        load_muse(REFERENCE / "muse_class.pth", 59, 4)
    state = torch.load(REFERENCE / "muse_class.pth", weights_only=True)
    del state["token_emb.position_embeddings.weight"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x.pth: not a checkpoint of MUSE-Pytorch: it lacks tok"):
        load_muse(tmp_path / "x.pth", 48, 4)
