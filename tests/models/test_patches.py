"""Patches of real pictures as tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from models.patches import PatchTokenizer


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """32 squares of 32 x 32 pixels out of two photographs."""
    photographs = (
        torch.tensor(np.stack(load_sample_images().images)).float().permute(0, 3, 1, 2) / 255
    )
    squares = photographs.unfold(2, 32, 80).unfold(3, 32, 80)
    return squares.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)[:32]


def test_decoded_patches_lie_near_the_pictures(pictures: Tensor) -> None:
    errors = []
    for codes in (8, 128):
        tokenizer = PatchTokenizer.fit([pictures[:20], pictures[20:]], 4, codes, seed=0)
        tokens = tokenizer.encode(pictures)
        assert tokens.shape == (32, 8, 8)
        assert tokens.max() < codes
        decoded = tokenizer.decode(tokens)
        assert decoded.shape == pictures.shape
        assert torch.equal(tokenizer.encode(decoded), tokens)
        errors.append(float((decoded - pictures).square().mean()))
    assert errors[1] < errors[0] / 1.5
    assert errors[1] < 0.2 * float(pictures.var())


def test_the_same_pictures_and_seed_give_the_same_codes(pictures: Tensor) -> None:
    once, again = (PatchTokenizer.fit([pictures], 8, 16, seed=1) for _ in range(2))
    assert once.hash() == again.hash()
    assert once.hash() != PatchTokenizer.fit([pictures], 8, 16, seed=2).hash()


def test_a_file_keeps_it(pictures: Tensor, tmp_path: Path) -> None:
    tokenizer = PatchTokenizer.fit([pictures], 8, 16, seed=1)
    tokenizer.save(tmp_path / "t.safetensors")
    loaded = PatchTokenizer.load(tmp_path / "t.safetensors")
    assert (loaded.hash(), loaded.factor) == (tokenizer.hash(), 8)
    assert torch.equal(loaded.encode(pictures), tokenizer.encode(pictures))


def test_too_few_patches() -> None:
    with pytest.raises(ValueError, match="1 distinct patches are too few for 2 codes"):
        PatchTokenizer.fit([torch.zeros(2, 3, 8, 8)], 4, 2, seed=0)
    with pytest.raises(ValueError, match="0 distinct patches"):
        PatchTokenizer.fit([], 4, 2, seed=0)
    with pytest.raises(ValueError, match="factor = 0 is not positive"):
        PatchTokenizer.fit([], 0, 2, seed=0)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    with pytest.raises(ValueError, match="no such file"):
        PatchTokenizer.load(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="not a patch tokenizer"):
        PatchTokenizer.load(file)
