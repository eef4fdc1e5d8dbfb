"""LlamaGen's VQ in its own file, against what its code computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.tokenizers.llamagen import LlamaGenVQ, llamagen_config, load_llamagen
from models.tokenizers.tokenizer import load_tokenizer

REFERENCE = Path(__file__).parents[2] / "reference" / "halton"


def test_codes_and_pixels_are_its_own() -> None:
    tokenizer = load_tokenizer(f"llamagen:{REFERENCE / 'vq_ds2.pt'}")
    assert (tokenizer.codebook_size, tokenizer.factor) == (64, 2)
    with np.load(REFERENCE / "vq_ds2_expected.npz") as file:
        expected = {name: torch.from_numpy(file[name]) for name in file.files}
    codes = tokenizer.encode((expected["images"] + 1) / 2)
    assert torch.equal(codes, expected["codes"])
    for given, decoded in (("codes", "decoded"), ("some_codes", "decoded_some")):
        wanted = (expected[decoded].clamp(-1, 1) + 1) / 2
        found = tokenizer.decode(expected[given])
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_the_full_size_has_the_published_names_and_shapes() -> None:
    published = json.loads((REFERENCE / "vq_ds16_c2i_state_dict.json").read_text())
    published.pop("quantize.codebook_used", None)  # a buffer of no use
    config = llamagen_config({name: tuple(shape) for name, shape in published.items()})
    assert (config.codebook_size, config.code_width) == (16384, 8)
    assert config.channels == (128, 128, 256, 256, 512)
    with torch.device("meta"):
        tokenizer = LlamaGenVQ(config)
    found = {name: list(tensor.shape) for name, tensor in tokenizer.state_dict().items()}
    assert found == published
    assert tokenizer.factor == 16


def test_other_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind llamagen, got Halton-MaskGIT's network: the gen"):
        load_llamagen(REFERENCE / "maskgit.pth")
    state = torch.load(REFERENCE / "vq_ds2.pt", weights_only=True)["model"]
    del state["quant_conv.weight"]
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt: not a checkpoint of LlamaGen's VQ: it lacks q"):
        load_llamagen(tmp_path / "x.pt")
