from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.generators.nat import NAT, NATConfig
from models.training.checkpoints import (
    SETTINGS,
    WEIGHTS,
    load_nat_folder,
    save_nat,
    settings_hash,
)

CONFIG = NATConfig(5, 9, 2, width=16, depth=2, num_heads=2, dropout=0.0)


@pytest.fixture
def nat() -> NAT:
    return NAT(CONFIG).eval()


def test_what_is_saved_comes_back(nat: NAT, tmp_path: Path) -> None:
    save_nat(tmp_path / "new" / "folder", nat, {"data": "digits"})
    loaded = load_nat_folder(tmp_path / "new" / "folder")
    assert loaded.config == CONFIG
    assert not loaded.training
    assert loaded.hash() == nat.hash()
    assert json.loads((tmp_path / "new" / "folder" / SETTINGS).read_text()) == {"data": "digits"}
    assert not list(tmp_path.rglob("*.partial"))


def test_hashes_tell_apart_and_only_apart(nat: NAT) -> None:
    before = nat.hash()
    with torch.no_grad():
        nat.norm.bias[0] += 1e-6
    assert nat.hash() != before
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})


def write(folder: Path, nat: NAT, config: str) -> None:
    save_nat(folder, nat, {})
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"config": config})


SIZES = {"codebook_size": 5, "tokens": 9, "num_classes": 2, "width": 16, "depth": 2}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("{", "not a checkpoint of a NAT"),
        ('{"width": 16}', "not a checkpoint of a NAT"),
        (json.dumps({**SIZES, "num_heads": 0}), "num_heads = 0 is not a positive integer"),
        (json.dumps({**SIZES, "num_heads": 2, "depth": 4}), "lacks in_blocks.1"),
        (
            json.dumps({**SIZES, "num_heads": 2, "tokens": 8}),
            r"expected the shape \(8, 16\), got \(9, 16\)",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(
    nat: NAT, config: str, line: str, tmp_path: Path
) -> None:
    write(tmp_path, nat, config)
    with pytest.raises(ValueError, match=rf"{WEIGHTS}: .*{line}") as caught:
        load_nat_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_safetensors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        load_nat_folder(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_nat_folder(tmp_path)


def test_the_null_context_is_kept_and_part_of_the_hash(tmp_path: Path) -> None:
    texts = NAT(NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=3)).eval()
    plain = texts.hash()
    save_nat(tmp_path / "plain", texts, {})
    assert load_nat_folder(tmp_path / "plain").null_context is None
    texts.set_null_context(torch.ones(2, 3))
    save_nat(tmp_path / "null", texts, {})
    loaded = load_nat_folder(tmp_path / "null")
    assert loaded.config == texts.config
    assert torch.equal(loaded.null_context, torch.ones(2, 3))
    assert loaded.hash() == texts.hash() != plain
    texts.set_null_context(torch.zeros(2, 3))
    assert texts.hash() not in (loaded.hash(), plain)


def test_a_null_context_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    texts = NAT(NATConfig(5, 9, None, width=16, depth=2, num_heads=2, context_width=3))
    texts.null_context = torch.ones(2, 4)
    save_nat(tmp_path, texts, {})
    with pytest.raises(
        ValueError, match=r"safetensors: expected a null context of shape \(C, 3\), got \(2, 4\)"
    ):
        load_nat_folder(tmp_path)
