"""One face: every tokenizer, by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from diffusers import VQModel

from models.tokenizers.patches import PatchTokenizer
from models.tokenizers.tokenizer import load_tokenizer

DATA = Path(__file__).parents[1] / "files"
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["vqgan", "patches", "diffusers"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / request.param
    if request.param == "vqgan":
        path = DATA / "vqgan.ckpt"
    elif request.param == "patches":
        PatchTokenizer.fit([IMAGES], 8, 10, seed=0).save(path)
    else:
        torch.manual_seed(0)
        vq_model().save_pretrained(path)
    return f"{request.param}:{path}"


def vq_model() -> VQModel:
    return VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        num_vq_embeddings=20,
        vq_embed_dim=4,
    )


def test_images_to_tokens_and_back(name: str) -> None:
    tokenizer = load_tokenizer(name)
    tokens = tokenizer.encode(IMAGES)
    side = 32 // tokenizer.factor
    assert tokens.shape == (3, side, side)
    assert tokens.dtype == torch.int64
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.codebook_size
    images = tokenizer.decode(tokens)
    assert images.shape == IMAGES.shape
    assert images.min() >= 0
    assert images.max() <= 1
    # An image does not depend on its neighbours.
    assert torch.equal(tokenizer.encode(IMAGES[1:2])[0], tokens[1])


def test_it_travels_and_keeps_its_hash(name: str) -> None:
    tokenizer = load_tokenizer(name)
    copied = pickle.loads(pickle.dumps(tokenizer)).to("cpu")
    assert copied.hash() == tokenizer.hash() == load_tokenizer(name).hash()
    assert torch.equal(copied.encode(IMAGES), tokenizer.encode(IMAGES))


def test_its_tokens_can_be_learnt_from(name: str) -> None:
    tokenizer = load_tokenizer(name)
    words = torch.nn.Embedding(tokenizer.codebook_size, 4)
    words(tokenizer.encode(IMAGES)).sum().backward()
    assert words.weight.grad is not None


def test_half_precision_around_it_stays_around_it(name: str) -> None:
    tokenizer = load_tokenizer(name)
    tokens = tokenizer.encode(IMAGES)
    with torch.autocast("cpu", torch.bfloat16):
        images = tokenizer.decode(tokens)
        near = tokenizer.encode(IMAGES)
    assert images.dtype == torch.float32
    assert (near == tokens).float().mean() > 0.9


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((3, 32, 32), r"expected images of shape \[B, 3, H, W\], got \(3, 32, 32\)"),
        ((2, 1, 32, 32), r"got \(2, 1, 32, 32\)"),
        ((2, 3, 32, 33), "multiples of .* pixels, got 32 x 33"),
    ],
)
def test_images_that_do_not_fit_are_one_line(name: str, shape: tuple[int, ...], line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        load_tokenizer(name).encode(torch.zeros(shape))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["vqgan", "vqgan:", "other:x", ""])
def test_an_unknown_kind(text: str) -> None:
    with pytest.raises(ValueError, match="tokenizer = .* is unknown; known: vqgan:PATH"):
        load_tokenizer(text)


@pytest.mark.parametrize("kind", ["vqgan", "patches", "diffusers"])
def test_a_path_where_nothing_lies(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path / "nothing")):
        load_tokenizer(f"{kind}:{tmp_path / 'nothing'}")
