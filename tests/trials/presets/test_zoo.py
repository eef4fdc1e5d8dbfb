"""What `autonat zoo` knows, and what it says of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.generators.class_generator import class_pass_flops
from models.generators.halton import HaltonNetwork, halton_config
from models.generators.nat import NATConfig
from models.generators.nat_generator import pass_flops as nat_flops
from models.generators.titok import TiTokConfig, titok_config, titok_network
from trials.presets.presets import presets
from trials.presets.zoo import public_models

Autonat = Callable[..., tuple[int, str, str]]
TESTS = Path(__file__).parents[2]
MODELS = {model.name: model for model in public_models()}


def test_what_is_known_holds_together() -> None:
    assert len(MODELS) == len(public_models())
    for model in MODELS.values():
        assert model.files
        assert model.preset is None or model.preset in presets()
        assert model.steps <= model.passes <= 2 * model.steps


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("AutoNAT-L", lambda: nat_flops(NATConfig(1024, 256, 1000, 768, 24, 8))),
        ("MUSE-Pytorch, ImageNet", lambda: nat_flops(NATConfig(1024, 256, 1000, 768, 12, 12))),
        ("Halton-MaskGIT 256 small", lambda: class_pass_flops(HaltonNetwork, halton_of("small"))),
        ("Halton-MaskGIT 384 large", lambda: class_pass_flops(HaltonNetwork, halton_of("large"))),
        ("TiTok S-128", lambda: class_pass_flops(titok_network, titok_of("uvit_s128"))),
        ("TiTok L-32", lambda: class_pass_flops(titok_network, titok_of("vit_l32_b64"))),
    ],
)
def test_operations_are_counted_ones(name: str, flops: Callable[[], int]) -> None:
    known = MODELS[name].flops
    assert known is not None
    assert known[0] == pytest.approx(flops() / 1e9, abs=0.06)


def halton_of(size: str):  # type: ignore[no-untyped-def]
    path = TESTS / "reference" / "halton" / f"maskgit_{size}_state_dict.json"
    shapes = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    return halton_config(shapes)


def titok_of(listing: str) -> TiTokConfig:
    path = TESTS / "reference" / "titok" / f"{listing}_state_dict.json"
    shapes = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    return titok_config(shapes, 16)


def test_the_zoo_is_listed(autonat: Autonat) -> None:
    code, out, _ = autonat("zoo")
    assert code == 0
    for model in MODELS.values():
        assert model.name in out
    code, out, _ = autonat("zoo", "--json")
    listed = {told["name"]: told for told in json.loads(out)}
    base = listed["Halton-MaskGIT 256 base"]
    assert (base["fid"], base["passes_here"], base["preset"]) == (4.17, 64, "halton-256-base")
    assert base["gigaflops"] == pytest.approx(64 * 52.6 + 252.7, abs=0.1)


@pytest.mark.parametrize(
    ("file", "kind", "sizes"),
    [
        ("reference/halton/maskgit.pth", "halton", {"codebook_size": 64, "tokens": 256}),
        ("reference/halton/vq_ds2.pt", "llamagen", {"codebook_size": 64, "code_width": 8}),
        ("reference/muse/muse_class.pth", "muse", {"words": 60, "tokens": 64, "depth": 4}),
        ("reference/titok/titok_vit.bin", "titok", {"codebook_size": 64, "tokens": 32}),
        ("reference/titok/titok_tokenizer.bin", "titok", {"tokens": 32, "side": 4}),
        ("reference/amused/amused_256_small", "amused", {"tokens": 64, "mask_token": 71}),
        ("models/files/nat.pth", "nat", {"codebook_size": 48, "num_classes": 10}),
        ("models/files/vqgan.ckpt", "vqgan", {"codebook_size": 48}),
    ],
)
def test_a_file_is_said_to_be_what_it_is(
    autonat: Autonat, file: str, kind: str, sizes: dict[str, int]
) -> None:
    code, out, err = autonat("zoo", "check", TESTS / file, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["kind"] == kind
    assert sizes.items() <= found["sizes"].items()
    for path in (TESTS / file, f"{kind}:{TESTS / file}"):
        assert f"{kind}:{TESTS / file}" in autonat("zoo", "check", path)[1]


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("muse/muse_text.pth", ["tokenizer=vqgan:PATH", "prompts=TOKEN-DATA", "num_heads=N"]),
        ("muse/muse_class.pth", ["tokenizer=vqgan:PATH", "num_heads=N"]),
        ("amused/amused_256_small", ["prompts=FILE"]),
        ("titok/titok_vit.bin", ["tokenizer=titok:PATH"]),
    ],
)
def test_what_a_search_needs_beside_a_file_is_said(
    autonat: Autonat, file: str, settings: list[str]
) -> None:
    [line] = [
        line
        for line in autonat("zoo", "check", TESTS / "reference" / file)[1].splitlines()
        if line.startswith("--set weights=")
    ]
    assert line.split(" --set ")[1:] == settings
    # Heads are known by kind and width, so that the kind that is printed is the one that was found.
    found = json.loads(autonat("zoo", "check", TESTS / "reference" / file, "--json")[1])
    assert line.startswith(f"--set weights={found['kind']}:")


def test_other_files_are_said_in_a_line(autonat: Autonat, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pth")
    code, out, _ = autonat("zoo", "check", tmp_path / "x.pth")
    assert (code, "weights of an unknown kind" in out) == (0, True)
    torch.save({"state": {}, "param_groups": [{"lr": 1}]}, tmp_path / "adam.pth")
    whole = (TESTS / "models" / "files" / "nat.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    for name, line in (
        ("adam.pth", "it holds an optimiser's state, not weights"),
        ("half.pth", "cut off: its end is missing"),
        ("nothing.pth", "No such file"),
    ):
        code, _, err = autonat("zoo", "check", tmp_path / name)
        assert code == 2
        assert line in err.splitlines()[-1]
