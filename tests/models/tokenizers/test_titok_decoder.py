"""TiTok's decoder against the public code, on a small random model in its own file format."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.tokenizers.titok import (
    TiTokDecoder,
    decoding_part,
    load_titok_decoder,
    titok_decoder_config,
)

DATA = Path(__file__).parents[2] / "reference" / "titok"


def test_images_are_the_public_ones() -> None:
    decoder = load_titok_decoder(DATA / "titok_tokenizer.bin")
    with np.load(DATA / "titok_tokenizer_expected.npz") as file:
        tokens, raw = torch.from_numpy(file["tokens"]), torch.from_numpy(file["images"])
    assert (decoder.tokens, decoder.codebook_size, decoder.grid) == (32, 64, None)
    torch.testing.assert_close(decoder.decode(tokens), raw.clamp(0, 1), atol=1e-4, rtol=0)
    assert raw.min() < 0
    assert raw.max() > 1
    copy: TiTokDecoder = pickle.loads(pickle.dumps(decoder))
    assert torch.equal(copy.decode(tokens), decoder.decode(tokens))


def test_the_published_names_and_shapes() -> None:
    published = json.loads((DATA / "tokenizer_s128_state_dict.json").read_text())
    expected = decoding_part({name: tuple(shape) for name, shape in published.items()})
    config = titok_decoder_config(expected)
    assert (config.tokens, config.side, config.width, config.depth) == (128, 16, 512, 8)
    assert (config.num_heads, config.pixels.channels) == (8, (128, 128, 256, 256, 512))
    with torch.device("meta"):
        decoder = TiTokDecoder(config)
    assert {name: tuple(t.shape) for name, t in decoder.state_dict().items()} == expected
    assert decoder.flops() > 1e11


def _own_pixels(state: dict[str, Any]) -> None:
    """As the tokenizers that predict pixels without MaskGIT's VQGAN."""
    for name in [name for name in state if name.startswith("pixel_")]:
        del state[name]


def _not_square(state: dict[str, Any]) -> None:
    state["decoder.positional_embedding"] = torch.zeros(16, 128)


def _misshapen(state: dict[str, Any]) -> None:
    state["decoder.ln_pre.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            _own_pixels,
            "not a tokenizer of TiTok that decodes with MaskGIT's VQGAN: it lacks pixel_",
        ),
        (_not_square, "expected positions of a square and one more, got 16"),
        (_misshapen, r"decoder.ln_pre.bias: expected the shape \(128,\), got \(3,\)"),
    ],
)
def test_another_checkpoint_is_one_line(spoil: Any, line: str, tmp_path: Path) -> None:
    state: dict[str, Any] = torch.load(DATA / "titok_tokenizer.bin", weights_only=True)
    spoil(state)
    torch.save(state, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=f"x.bin: .*{line}") as caught:
        load_titok_decoder(tmp_path / "x.bin")
    assert "\n" not in str(caught.value)
