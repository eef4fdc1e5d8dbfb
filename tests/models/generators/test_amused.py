"""aMUSEd against what the public pipeline computed, from a folder as diffusers saves it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.decoding import generate
from models.generators.amused import AmusedGenerator, network_of
from models.generators.conditions import Conditions
from models.generators.registry import load_generator
from models.testing import check_generator
from tests.reference.published import amused_strategy
from trials.presets.presets import read_strategy

DATA = Path(__file__).parents[2] / "reference" / "amused"
PROMPTS = ("a red cat", "dog", "a long caption, number 3: " + "cat dog " * 33)
SIZES = (256, 512)
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("\n\n".join(PROMPTS))
    return path


def folder_of(size: int, place: Path) -> Path:
    """A whole folder: what the two sizes share is stored once, with that of 256."""
    folder = shutil.copytree(DATA / "amused_256_small", place / f"amused-{size}")
    return shutil.copytree(DATA / f"amused_{size}_small", folder, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def generators(
    prompts: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, AmusedGenerator]:
    place = tmp_path_factory.mktemp("amused")
    found = {s: load_generator(f"amused:{folder_of(s, place)}", prompts=prompts) for s in SIZES}
    return {size: g for size, g in found.items() if isinstance(g, AmusedGenerator)}


def expected(size: int) -> dict[str, Tensor]:
    with np.load(DATA / f"amused_{size}_small_expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def in_rows(grids: Tensor) -> Tensor:
    """[B, K, h, w] as [B, L, K]."""
    return grids.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_texts_and_logits_are_the_public_ones(
    size: int, generators: dict[int, AmusedGenerator]
) -> None:
    generator, known = generators[size], expected(size)
    assert (generator.grid, generator.codebook_size, generator.mask_token) == ((8, 8), 64, 71)
    conditions = generator.conditions_of(torch.arange(3))
    null = generator.null(conditions)
    for found, name in (
        (conditions.parts[0], "text_states"),
        (conditions.parts[1], "text_pooled"),
        (null.parts[0], "null_states"),
        (null.parts[1], "null_pooled"),
    ):
        want = known[name].expand_as(found)
        torch.testing.assert_close(found, want, atol=1e-5, rtol=0)
    assert torch.equal(conditions.parts[2], known["micro_conds"].expand(3, -1))
    for given, name in ((conditions, "logits"), (null, "null_logits")):
        logits = generator(known["ids"].flatten(1), given)
        torch.testing.assert_close(logits, in_rows(known[name]), atol=1e-4, rtol=0)
    prettier = known["micro_conds"].clone()
    prettier[:, 4] = 9
    given = Conditions(*conditions.parts[:2], prettier.expand(3, -1))
    logits = generator(known["ids"].flatten(1), given)
    torch.testing.assert_close(logits, in_rows(known["logits_aesthetic_9"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_every_token_is_the_public_one(size: int, generators: dict[int, AmusedGenerator]) -> None:
    generator, known = generators[size], expected(size)
    conditions = generator.conditions_of(torch.arange(3))
    names = [name for name in known if name.startswith("greedy_tokens")]
    assert len(names) == 4
    for name in names:
        steps, g = (int(part[1:]) for part in name.split("_")[2:])
        strategy = amused_strategy(steps, g, (0.0, 0.0))
        strategy = strategy.with_values({"sampling_temperature": [0.0] * steps})
        tokens = generate(generator, conditions, strategy)
        assert torch.equal(tokens, known[name].flatten(1)), name
        if (size, steps, g) == (256, 4, 3):
            images = generator.decode(tokens)
            torch.testing.assert_close(images, known["images_t4_g3"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_it_keeps_what_generators_promise(
    size: int, generators: dict[int, AmusedGenerator]
) -> None:
    check_generator(generators[size], generators[SIZES[1 - SIZES.index(size)]])


@torch.inference_mode()
def test_prompts_in_a_list_and_none_at_all(generators: dict[int, AmusedGenerator]) -> None:
    known = generators[256]
    name = f"amused:{DATA / 'amused_256_small'}"
    listed = load_generator(name, prompts=PROMPTS)
    assert listed.num_conditions == 3
    drawn = torch.arange(3)
    assert torch.equal(listed.conditions_of(drawn).parts[0], known.conditions_of(drawn).parts[0])
    none = load_generator(name)
    assert none.num_conditions is None
    empty = none.conditions_of(torch.zeros(2, dtype=torch.int64))
    assert torch.equal(empty.parts[1], known.null(empty).parts[1])
    check_generator(none)
    states = known.null(empty).parts
    again = load_generator(name, prompts=PROMPTS)
    with torch.autocast("cpu", torch.bfloat16):  # as tokens are generated in lower precision
        lower = again.null(empty).parts
    assert all(torch.equal(one, other) for one, other in zip(lower, states, strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_the_published_names_and_shapes(size: int) -> None:
    published = json.loads((DATA / f"amused_{size}_state_dict.json").read_text())
    larger = size == 512
    network = network_of({"downsample": larger, "upsample": larger})
    assert {name: list(t.shape) for name, t in network.state_dict().items()} == published


def test_a_tokenizer_with_its_words_in_two_files(tmp_path: Path, prompts: Path) -> None:
    """As in the public folders, which are older than tokenizer.json."""
    folder = folder_of(256, tmp_path)
    path = folder / "tokenizer" / "tokenizer.json"
    model = json.loads(path.read_text())["model"]
    path.unlink()
    (path.parent / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (path.parent / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    generator = load_generator(f"amused:{folder}", prompts=prompts)
    states = generator.conditions_of(torch.arange(3)).parts[0]
    torch.testing.assert_close(states, expected(256)["text_states"], atol=1e-5, rtol=0)
    (path.parent / "merges.txt").unlink()
    with pytest.raises(ValueError, match=r"amused-256: .*it lacks tokenizer/merges.txt"):
        load_generator(f"amused:{folder}", prompts=prompts)


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:9000])


def _config(name: str, **changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | changed))

    return change


def _tensors(name: str, lacking: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / name)
        del tensors[lacking]
        save_file(tensors, folder / name, metadata={"format": "pt"})

    return change


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_without("model_index.json"), "not a whole folder of aMUSEd: it lacks model_index.json"),
        (_without("scheduler/scheduler_config.json"), "it lacks scheduler/scheduler_config.json"),
        (_without(TRANSFORMER), f"it lacks {TRANSFORMER}"),
        (_without("vqvae/config.json"), "it lacks vqvae/config.json"),
        (_without("text_encoder/model.safetensors"), "it lacks text_encoder/model.safetensors"),
        (_without("tokenizer/tokenizer_config.json"), "it lacks tokenizer/tokenizer_config.json"),
        (_without("tokenizer/tokenizer.json"), "it lacks tokenizer/tokenizer.json"),
        (_cut(TRANSFORMER), f"{TRANSFORMER}: not a checkpoint of tensors .*cut off"),
        (_cut("vqvae/diffusion_pytorch_model.safetensors"), "vqvae: .*is damaged or cut off"),
        (_cut("text_encoder/model.safetensors"), "model.safetensors is damaged or cut off"),
        (_cut("tokenizer/tokenizer.json"), "tokenizer/tokenizer.json: .*JSON"),
        (
            _config("model_index.json", _class_name="StableDiffusionPipeline"),
            "expected a folder of AmusedPipeline, got one of StableDiffusionPipeline",
        ),
        (
            _config("transformer/config.json", _class_name="UNet2DModel"),
            "expected _class_name UVit2DModel, got UNet2DModel",
        ),
        (_config("transformer/config.json", hidden_size=48), "expected the shape"),
        (_config("transformer/config.json", num_attention_heads=0), "transformer/?: .*config.json"),
        (
            _config("scheduler/scheduler_config.json", mask_token_id=64_000),
            r"expected mask_token_id in \[64, 72\).*, got 64000",
        ),
        (
            lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text("{}"),
            r"expected mask_token_id in \[64, 72\).*, got None",
        ),
        (
            _config("scheduler/scheduler_config.json", mask_token_id="71"),
            "expected mask_token_id of type int, got '71'",
        ),
        (_tensors(TRANSFORMER, "mlm_layer.conv1.weight"), "lacks mlm_layer.conv1.weight"),
        (
            _tensors("text_encoder/model.safetensors", "text_projection.weight"),
            "it lacks text_projection.weight",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(
    spoil: Callable[[Path], None], line: str, tmp_path: Path, prompts: Path
) -> None:
    folder = folder_of(256, tmp_path)
    spoil(folder)
    with pytest.raises(ValueError, match=f"{folder}.*{line}") as caught:
        load_generator(f"amused:{folder}", prompts=prompts)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_the_folder(prompts: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder of aMUSEd, as diffusers saves it"):
        load_generator(f"amused:{DATA / 'amused_256_small' / TRANSFORMER}", prompts=prompts)
    with pytest.raises(ValueError, match="expected a folder of one model, got one of AmusedPipe"):
        load_generator(f"titok:{DATA / 'amused_256_small'}", tokenizer="titok:x")
    found = load_generator(str(DATA / "amused_256_small"), prompts=prompts)
    assert isinstance(found, AmusedGenerator)  # a folder is recognised


@pytest.mark.parametrize(
    ("package", "extra"), [("diffusers", "diffusers"), ("transformers", "text")]
)
def test_without_an_extra(
    package: str, extra: str, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"{package} is not installed: pip install .*\[{extra}\]"):
        load_generator(f"amused:{DATA / 'amused_256_small'}", prompts=prompts)


@pytest.mark.parametrize("steps", [8, 12, 18])
def test_as_many_tokens_stay_masked_as_by_the_public_scheduler(steps: int) -> None:
    """At T = 12 and 18 double precision would give 128 where the public code gives 127."""
    from diffusers import AmusedScheduler

    untyped: Any = AmusedScheduler
    scheduler, left = untyped(mask_token_id=5), []
    scheduler.set_timesteps(steps)
    tokens = torch.full((1, 256), 5)
    for timestep in scheduler.timesteps:
        logits = torch.randn(1, 256, 4, generator=torch.Generator().manual_seed(int(timestep)))
        tokens = scheduler.step(logits, timestep, tokens).prev_sample
        left.append(int((tokens == 5).sum()))
    assert amused_strategy(steps, 10, (2, 0)).masked_counts(256) == tuple(left)
    if steps == 12:
        assert read_strategy("amused-256").generation.masked_counts(256) == tuple(left)
