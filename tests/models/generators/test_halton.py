"""Halton-MaskGIT in its own files, against what its code computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.halton import HEADS, HaltonNetwork, halton_config
from models.generators.halton_generator import HaltonGenerator, load_halton
from models.generators.registry import load_generator
from models.testing import check_generator
from models.token_orders import halton_order
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy
from tests.reference.published import halton_strategy

REFERENCE = Path(__file__).parents[2] / "reference" / "halton"
VQ = f"llamagen:{REFERENCE / 'vq_ds2.pt'}"
SIZES = {"maskgit": (4, 16), "maskgit_odd_heads": (6, 8)}


@pytest.fixture(params=[*SIZES], scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def expected(name: str) -> dict[str, Tensor]:
    with np.load(REFERENCE / f"{name}_expected.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def generator(name: str) -> HaltonGenerator:
    heads, side = SIZES[name]
    network = load_halton(REFERENCE / f"{name}.pth", heads)
    return HaltonGenerator(network, GreyLevels(network.config.codebook_size, (side, side)))


@torch.inference_mode()
def test_logits_are_its_own_without_the_masks_column(
    generator: HaltonGenerator, expected: dict[str, Tensor]
) -> None:
    ids, classes = expected["ids"].flatten(1), Conditions(expected["classes"])
    for what, seen in (("logits", classes), ("null_logits", generator.null(classes))):
        found, wanted = generator(ids, seen), expected[what][..., :-1]
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("scale", [0, 2])
def test_its_own_sampler_is_a_strategy(
    generator: HaltonGenerator, expected: dict[str, Tensor], steps: int, scale: float
) -> None:
    strategy = halton_strategy(generator.tokens, steps, scale, sampling_temperature=0.0)
    tokens = generate(generator, Conditions(expected["classes"]), strategy)
    assert torch.equal(tokens, expected[f"halton_tokens_t{steps}_w{scale}"].flatten(1))
    counts = np.diff([generator.tokens, *strategy.masked_counts(generator.tokens)])
    assert (-counts).tolist() == expected[f"halton_counts_t{steps}"].tolist()


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("scale", [0, 2])
def test_greedy_tokens_of_maskgits_rule_are_its_own(
    generator: HaltonGenerator, expected: dict[str, Tensor], steps: int, scale: float
) -> None:
    rule = GenerationStrategy.maskgit(steps)
    strategy = rule.with_values(
        {
            "remask_temperature": (0.0,) * (steps - 1),
            "sampling_temperature": (0.0,) * steps,
            "guidance_scale": tuple(scale * t / steps for t in range(steps)),
        }
    )
    tokens = generate(generator, Conditions(expected["classes"]), strategy)
    assert torch.equal(tokens, expected[f"greedy_tokens_t{steps}_s{scale}"].flatten(1))


def test_a_rolled_order_gives_its_own_tokens(
    generator: HaltonGenerator, expected: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the offsets that the public code drew: ours come from the uniforms of the first step."""
    strategy = halton_strategy(generator.tokens, 8, 0, sampling_temperature=0.0)
    strategy = strategy.with_values({}, {"token_order": "halton-rolled"})
    wanted = (expected["halton_rolled_offsets"].float() + 0.5) / generator.tokens
    drawn = torch.rand

    def rand(*size: Any, **more: Any) -> Tensor:
        found = drawn(*size, **more)
        found[1, :, 0] = wanted
        return found

    monkeypatch.setattr("models.decoding.torch.rand", rand)
    tokens = generate(generator, Conditions(expected["classes"]), strategy)
    assert torch.equal(tokens, expected["halton_rolled_tokens_t8_w0"].flatten(1))


@pytest.mark.parametrize("order", ["halton", "halton-rolled"])
def test_logits_of_some_places_give_the_tokens_of_all(
    generator: HaltonGenerator, order: str
) -> None:
    """What is watched is computed at every place."""
    strategy = halton_strategy(generator.tokens, 3, 0.7).with_values({}, {"token_order": order})
    strategy = strategy.with_values({"guidance_scale": (0.0, *strategy.guidance_scale[1:])})
    classes = Conditions(torch.tensor([1, 3, 3]))
    tokens = [
        generate(generator, classes, strategy, torch.Generator().manual_seed(1), rows, watch)
        for rows, watch in ((None, None), (2, None), (None, lambda *_: None))
    ]
    for others in tokens[1:]:
        assert (others == tokens[0]).float().mean() > 0.99  # rounding may decide between two


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("order", ["halton", "halton-rolled"])
def test_it_generates_on_a_gpu(order: str) -> None:
    network = load_halton(REFERENCE / "maskgit_odd_heads.pth", 6)
    generator = HaltonGenerator(network, GreyLevels(48, (8, 8))).to("cuda")
    strategy = halton_strategy(64, 3, 0.7).with_values({}, {"token_order": order})
    classes = generator.conditions_of(torch.tensor([1, 3, 0], device="cuda"))
    tokens = generate(generator, classes, strategy, torch.Generator("cuda").manual_seed(1), rows=2)
    assert int(tokens.max()) < 48


@pytest.mark.parametrize("side", [24, 32])
def test_its_order_on_larger_grids(side: int) -> None:
    public = np.load(REFERENCE / f"halton_order_{side}x{side}.npy")
    np.testing.assert_array_equal(halton_order((side, side)), public)


def test_it_keeps_the_promises_of_a_generator() -> None:
    path = f"halton:{REFERENCE / 'maskgit.pth'}"
    generator = load_generator(path, tokenizer=VQ, num_heads=4)
    assert (generator.tokens, generator.grid, generator.num_conditions) == (256, (16, 16), 10)
    assert (generator.codebook_size, generator.mask_token) == (64, 64)
    check_generator(generator)


@pytest.mark.parametrize(("size", "width", "tokens"), [("small", 512, 256), ("large", 1024, 576)])
def test_full_size_networks_have_the_published_names_and_shapes(
    size: str, width: int, tokens: int
) -> None:
    published = json.loads((REFERENCE / f"maskgit_{size}_state_dict.json").read_text())
    config = halton_config({name: tuple(shape) for name, shape in published.items()})
    assert (config.codebook_size, config.num_classes) == (16384, 1000)
    assert (config.width, config.tokens, config.num_heads) == (width, tokens, HEADS[width])
    with torch.device("meta"):
        network = HaltonNetwork(config)
    found = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == published


def test_what_no_shape_shows_has_to_be_said(tmp_path: Path) -> None:
    path = REFERENCE / "maskgit.pth"
    with pytest.raises(ValueError, match="num_heads: expected a number for a network of width 48"):
        load_halton(path)
    with pytest.raises(ValueError, match="heads, 48, is not a multiple of num_heads = 7"):
        load_halton(path, 7)
    content = torch.load(path, weights_only=True)
    torch.save({"state": {}, "param_groups": [{"lr": 1e-4}]}, tmp_path / "adam.pth")
    with pytest.raises(ValueError, match=r"adam.pth: it holds an optimiser's state, not weights"):
        load_halton(tmp_path / "adam.pth", 4)
    (tmp_path / "half.pth").write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(ValueError, match=r"half.pth: .* \(cut off: its end is missing\)"):
        load_halton(tmp_path / "half.pth", 4)
    del content["model_state_dict"]["last_norm.mlp.1.bias"]
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x.pth: the checkpoint lacks last_norm.mlp.1.bias"):
        load_halton(tmp_path / "x.pth", 4)
    with pytest.raises(ValueError, match="expected a tokenizer with 48 codes, .* has 64"):
        load_generator(f"halton:{REFERENCE / 'maskgit_odd_heads.pth'}", tokenizer=VQ, num_heads=6)
