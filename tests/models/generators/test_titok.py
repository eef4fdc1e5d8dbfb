"""TiTok's generators against what the public code computed, in its own file format.

The tokens are those of the public sampler with its Gumbel noise switched off.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from models.decoding import generate
from models.file_report import report_on
from models.generators.class_generator import ClassGenerator
from models.generators.registry import load_generator
from models.generators.titok import titok_config, titok_network
from models.generators.titok_generator import load_titok_network
from models.testing import check_generator
from tests.reference.published import titok_strategy

DATA = Path(__file__).parents[2] / "reference" / "titok"
TOKENIZER = f"titok:{DATA / 'titok_tokenizer.bin'}"
NETWORKS = ("vit", "uvit")


def loaded(network: str) -> ClassGenerator:
    found = load_generator(f"titok:{DATA / f'titok_{network}.bin'}", tokenizer=TOKENIZER)
    assert isinstance(found, ClassGenerator)
    return found


def expected(network: str) -> dict[str, Tensor]:
    with np.load(DATA / f"titok_{network}_expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def state(network: str = "vit") -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(DATA / f"titok_{network}.bin", weights_only=True)
    return found


@pytest.mark.parametrize("network", NETWORKS)
@torch.inference_mode()
def test_logits_are_the_public_ones(network: str) -> None:
    generator, known = loaded(network), expected(network)
    conditions = generator.conditions_of(known["classes"])
    for name, given in (("logits", conditions), ("null_logits", generator.null(conditions))):
        logits = generator(known["ids"], given)
        torch.testing.assert_close(logits, known[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_token_is_the_public_one(network: str) -> None:
    generator, known = loaded(network), expected(network)
    names = [name for name in known if name.startswith("greedy_tokens")]
    assert len(names) == 4
    for name in names:
        _, _, t, curve = name.split("_", 3)
        scale = {"constant0": 0.0, "linear3": 3.0, "power_cosine3": 3.0}[curve]
        kind = "power-cosine" if curve.startswith("power") else "linear"
        strategy = titok_strategy(int(t.removeprefix("t")), 0.0, kind, scale, soft=False)
        tokens = generate(generator, generator.conditions_of(known["classes"]), strategy)
        assert torch.equal(tokens, known[name]), name


@pytest.mark.parametrize(
    ("listing", "heads", "sizes"),
    [
        ("vit_l32_b64", 16, ("ViT", 4096, 32, 1000, 768, 3072, 24)),
        ("uvit_s128", 16, ("UViT", 4096, 128, 1000, 1024, 4096, 20)),
    ],
)
def test_the_published_names_and_shapes(listing: str, heads: int, sizes: Any) -> None:
    published = json.loads((DATA / f"{listing}_state_dict.json").read_text())
    config = titok_config({name: tuple(shape) for name, shape in published.items()}, heads)
    assert sizes == (
        config.network,
        config.codebook_size,
        config.tokens,
        config.num_classes,
        config.width,
        config.hidden,
        config.depth,
    )
    with torch.device("meta"):
        network = titok_network(config)
    assert {name: list(t.shape) for name, t in network.state_dict().items()} == published


@pytest.mark.parametrize("network", NETWORKS)
def test_it_keeps_what_generators_promise(network: str) -> None:
    generator = loaded(network)
    assert (generator.grid, generator.tokens, generator.mask_token) == (None, 32, 64)
    assert min(generator.flops().values()) > 0
    other = loaded(network)
    next(other.network.parameters()).data += 1
    check_generator(generator, other)


def as_folder(folder: Path, network: str = "vit") -> Path:
    """As Hugging Face hands them out; sizes in its config may be references to others."""
    folder.mkdir()
    config = json.loads((DATA / f"titok_{network}.json").read_text())
    config["model"]["generator"]["image_seq_len"] = "${model.vq_model.num_latent_tokens}"
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state(network), folder / "model.safetensors")
    return folder


def test_a_folder_and_a_file_with_yaml_are_read(tmp_path: Path) -> None:
    want = loaded("vit").hash()
    folder = as_folder(tmp_path / "folder")
    shutil.copy(DATA / "titok_vit.bin", tmp_path / "x.bin")
    config = yaml.safe_dump(json.loads((folder / "config.json").read_text()))
    (tmp_path / "x.yaml").write_text(config)
    for path in (folder, tmp_path / "x.bin"):
        found = load_generator(f"titok:{path}", tokenizer=TOKENIZER)
        assert isinstance(found, ClassGenerator)
        assert found.hash() == want
        assert found.network.config.num_heads == 4


def test_the_heads_are_those_of_the_caller_or_the_published_ones(tmp_path: Path) -> None:
    shutil.copy(DATA / "titok_vit.bin", tmp_path / "bare.bin")
    line = "num_heads: expected a number for a network of width 48; known: 16 at width 768, 16 at"
    with pytest.raises(ValueError, match=line):
        load_titok_network(tmp_path / "bare.bin")
    assert report_on(tmp_path / "bare.bin").needs == ("num_heads=N",)
    assert report_on(DATA / "titok_vit.bin").needs == ()  # its config is beside it
    assert load_titok_network(tmp_path / "bare.bin", 3).config.num_heads == 3
    assert load_titok_network(DATA / "titok_vit.bin", 3).config.num_heads == 3


def test_a_folder_that_is_not_whole_is_one_line(tmp_path: Path) -> None:
    for name, lacking, line in (
        ("a", "config.json", "expected a folder with a model's config.json, got"),
        ("b", "model.safetensors", "it lacks its weights, model.safetensors or pytorch_model.bin"),
    ):
        folder = as_folder(tmp_path / name)
        (folder / lacking).unlink()
        with pytest.raises(ValueError, match=f"{folder}.*{line}"):
            load_titok_network(folder)
    folder = as_folder(tmp_path / "cut")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:9000])
    with pytest.raises(ValueError, match=r"model.safetensors: not a checkpoint.*cut off"):
        load_titok_network(folder)
    for text, line in (
        ("{", "config.json: .*JSON"),
        ("[]", "config.json: expected an object with settings, got list"),
        ('{"model": {"generator": {"num_attention_heads": "4"}}}', "of type int, got '4'"),
        ('{"model": {"generator": {"num_attention_heads": 5}}}', "not a multiple of num_heads = 5"),
    ):
        folder = as_folder(tmp_path / f"config {len(text)}")
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=f"{folder}.*{line}") as caught:
            load_titok_network(folder)
        assert "\n" not in str(caught.value)


def test_other_files_are_one_line(tmp_path: Path) -> None:
    tensors = state()
    del tensors["model.lm_head.bias"]
    torch.save(tensors, tmp_path / "lacking.bin")
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.bin")
    torch.save({**state("uvit"), "extra": torch.zeros(2)}, tmp_path / "more.bin")
    optimiser = torch.optim.Adam([torch.zeros(2, requires_grad=True)]).state_dict()
    torch.save(optimiser, tmp_path / "optimizer.bin")
    for path, line in (
        (tmp_path / "lacking.bin", "lacks model.lm_head.bias"),
        (tmp_path / "other.bin", "not a generator of TiTok: it has neither"),
        (tmp_path / "more.bin", "has the unexpected extra"),
        (tmp_path / "optimizer.bin", "it holds an optimiser's state"),
        (tmp_path / "missing", "No such file"),
        (DATA / "titok_tokenizer.bin", "not a generator of TiTok: .* as a tokenizer does"),
    ):
        with pytest.raises(ValueError, match=f"{path.name}: .*{line}"):
            load_titok_network(path, 4)


def test_a_tokenizer_of_another_kind_or_size_is_refused(tmp_path: Path) -> None:
    path = DATA / "titok_vit.bin"
    with pytest.raises(ValueError, match=r"expected tokenizer = titok:PATH .*, got vqgan:x"):
        load_generator(f"titok:{path}", tokenizer="vqgan:x")
    torch.save(
        {
            name: tensor[:, :17]
            if name == "model.embeddings.position_embeddings.weight"
            else tensor
            for name, tensor in state().items()
        }
        | {"model.embeddings.position_embeddings.weight": torch.zeros(17, 48)},
        tmp_path / "short.bin",
    )
    with pytest.raises(ValueError, match="expected a tokenizer with 16 tokens per image, as"):
        load_generator(f"titok:{tmp_path / 'short.bin'}", tokenizer=TOKENIZER, num_heads=4)
