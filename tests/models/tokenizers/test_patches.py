"""Patches of real pictures as tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images
from threadpoolctl import threadpool_limits
from torch import Tensor

from models.tokenizers.patches import PatchTokenizer


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
    assert [path.name for path in tmp_path.iterdir()] == ["t.safetensors"]
    with safe_open(tmp_path / "t.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["settings"]) == {
            "format": "autonat-patches/1",
            "factor": 8,
            "codebook_size": 16,
            "seed": 1,
        }


@pytest.fixture(scope="module")
def letters() -> Tensor:
    """128 letters of all colours on white paper, 32 x 32 pixels."""
    random = np.random.default_rng(0)
    font = ImageFont.load_default(18)
    papers = []
    for letter in random.integers(65, 91, 128):
        paper = Image.new("RGB", (32, 32), "white")
        place, ink = random.integers(0, 16, 2).tolist(), tuple(random.integers(0, 200, 3).tolist())
        ImageDraw.Draw(paper).text(place, chr(letter), ink, font)
        papers.append(np.asarray(paper))
    return torch.from_numpy(np.stack(papers)).float().permute(0, 3, 1, 2) / 255


def test_a_white_background_takes_no_codes_from_the_letters(letters: Tensor) -> None:
    for batch in (8, 128):
        tokenizer = PatchTokenizer.fit(letters.split(batch), 4, 64, seed=0)
        tokens = tokenizer.encode(letters)
        assert len(tokens.unique()) > 60
        error = (tokenizer.decode(tokens) - letters).square().mean()
        assert error < 0.3 * letters.var()


def test_as_many_patches_as_codes_are_the_codes() -> None:
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    many = images.repeat(100, 1, 1, 1)
    tokenizer = PatchTokenizer.fit(many.split(10), 4, 4, seed=0)
    assert torch.equal(tokenizer.encode(images).unique(), torch.arange(4))
    torch.testing.assert_close(tokenizer.decode(tokenizer.encode(images)), images)


def test_the_number_of_threads_does_not_change_the_codes() -> None:
    images = torch.rand(128, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    hashes = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            hashes.add(PatchTokenizer.fit(images.split(16), 4, 128, seed=0).hash())
    assert len(hashes) == 1


def test_too_few_patches() -> None:
    # However often they come.
    with pytest.raises(
        ValueError, match="expected at least 16 distinct patches for as many codes, got 1"
    ):
        PatchTokenizer.fit([torch.zeros(4, 3, 256, 256)] * 2, 4, 16, seed=0)
    with pytest.raises(
        ValueError, match="expected at least 2 distinct patches for as many codes, got 1"
    ):
        PatchTokenizer.fit([torch.zeros(2, 3, 8, 8)], 4, 2, seed=0)
    with pytest.raises(ValueError, match="distinct patches for as many codes, got 0"):
        PatchTokenizer.fit([], 4, 2, seed=0)
    with pytest.raises(ValueError, match="factor = 0 is not positive"):
        PatchTokenizer.fit([], 0, 2, seed=0)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    with pytest.raises(ValueError, match="No such file"):
        PatchTokenizer.load(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="not a checkpoint of tensors"):
        PatchTokenizer.load(file)
    PatchTokenizer(torch.rand(2, 12), 2).save(file)
    codes = load_file(file)
    for settings, line in (
        ({"format": "autonat-patches/2", "factor": 2}, "format = 'autonat-patches/2' is unknown"),
        (
            {"format": "autonat-patches/1", "factor": 3},
            r"expected codes of shape .* factor = 3, got \(2, 12\)",
        ),
        ({"format": "autonat-patches/1"}, "not a patch tokenizer"),
    ):
        save_file(codes, file, metadata={"settings": json.dumps(settings)})
        with pytest.raises(ValueError, match=line):
            PatchTokenizer.load(file)
