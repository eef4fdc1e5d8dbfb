"""Generators by name, those of the published format to the end: images from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from docs.extending import captioned
from models.decoding import generate
from models.generators.registry import GENERATORS, load_generator
from models.testing import check_generator
from search.strategy import GenerationStrategy
from search.user_code import own_names

FILES = Path(__file__).parents[1] / "files"
NAT = f"nat:{FILES / 'nat.pth'}"
VQGAN = f"vqgan:{FILES / 'vqgan.ckpt'}"
HEADS = 4


def test_a_published_nat_by_name() -> None:
    generator = load_generator(NAT, tokenizer=VQGAN, num_heads=HEADS)
    assert (generator.tokens, generator.grid, generator.codebook_size) == (256, (16, 16), 48)
    assert generator.num_conditions == 10
    conditions = generator.conditions_of(torch.arange(4))
    tokens = generate(generator, conditions, GenerationStrategy.maskgit(2))
    images = generator.decode(tokens)
    assert images.shape == (4, 3, 32, 32)
    assert min(generator.flops().values()) > 0
    check_generator(generator)


def test_ones_own_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mygenerator.py").write_text(Path(captioned.__file__).read_text())
    monkeypatch.chdir(tmp_path)
    generator = load_generator("mygenerator:Captioned", captions=3)
    assert generator.num_conditions == 3
    assert "mygenerator:Captioned" in own_names()  # so that the workers are sent the module
    with pytest.raises(ValueError, match="mygenerator:Captioned has no setting width; its"):
        load_generator("mygenerator:Captioned", width=3)
    with pytest.raises(ValueError, match="mygenerator has no class 'Other'"):
        load_generator("mygenerator:Other")


def test_ones_own_kind_registered_in_code() -> None:
    @GENERATORS.register("seeded")
    def seeded(path: str, *, captions: int = 2) -> captioned.Captioned:
        return captioned.Captioned(int(path), captions)

    assert load_generator("seeded:5").hash() == captioned.Captioned(5, 2).hash()


def test_a_path_alone_is_of_the_kind_that_is_recognised(tmp_path: Path) -> None:
    named = load_generator(NAT, tokenizer=VQGAN, num_heads=HEADS)
    path = NAT.removeprefix("nat:")
    assert load_generator(path, tokenizer=VQGAN, num_heads=HEADS).hash() == named.hash()
    with pytest.raises(ValueError, match="ckpt: expected a generator, got MaskGIT's VQGAN, a tok"):
        load_generator(VQGAN.removeprefix("vqgan:"), tokenizer=VQGAN)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"its kind is not recognised; name it: nat:.*x.pth, muse"):
        load_generator(str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("other:x.pth", {}, "generator = 'other:x.pth' is unknown; known: nat:PATH"),
        ("amussed:x", {}, r"'amussed:x' is unknown \(did you mean amused\?\); known: nat:PATH"),
        ("other:weights", {}, "known: nat:PATH.*, or package.module:make of your own"),
        ("nat", {}, "generator = 'nat' is unknown; known: nat:PATH"),
        (NAT, {}, "nat.pth needs the setting tokenizer; its settings are: "),
        (NAT, {"tokenizer": VQGAN, "size": 3}, "nat.pth has no setting size; its settings are: "),
        ("nat:nothing.pth", {"tokenizer": VQGAN}, "nothing.pth: No such file"),
    ],
)
def test_a_generator_that_cannot_be(name: str, settings: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        load_generator(name, **settings)
