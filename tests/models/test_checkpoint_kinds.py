"""Files are recognised by the names of their tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.checkpoint_kinds import MARKS, kind_of_file, kind_of_names
from models.file_report import report_on

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "kind", "role"),
    [
        ("models/files/nat.pth", "nat", "generator"),
        ("models/files/vqgan.ckpt", "vqgan", "tokenizer"),
        ("reference/muse/muse_class.pth", "muse", "generator"),
        ("reference/muse/muse_text.pth", "nat", "generator"),
        ("reference/halton/maskgit.pth", "halton", "generator"),
        ("reference/halton/vq_ds2.pt", "llamagen", "tokenizer"),
        ("reference/titok/titok_vit.bin", "titok", "generator"),
        ("reference/titok/titok_uvit.bin", "titok", "generator"),
        ("reference/titok/titok_tokenizer.bin", "titok", "tokenizer"),
        ("reference/amused/amused_256_small", "amused", "generator"),
        ("reference/amused/amused_256_small/transformer", "amused", "part of a generator"),
        ("reference/amused/amused_256_small/vqvae", "diffusers", "tokenizer"),
    ],
)
def test_a_file_is_of_one_kind(file: str, kind: str, role: str) -> None:
    found = kind_of_file(TESTS / file)
    assert found is not None
    assert (found.name, found.role) == (kind, role)


def test_what_lies_beside_a_file_does_not_hide_its_kind(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes((TESTS / "models" / "files" / "nat.pth").read_bytes())
    (tmp_path / "x.json").write_text("[1, 2]")
    found = kind_of_file(tmp_path / "x.pth")
    assert found is not None
    assert found.name == report_on(tmp_path / "x.pth").kind == "nat"
    assert report_on(tmp_path / "x.pth").needs == ("num_heads=N",)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("reference/titok/vit_l32_b64_state_dict.json", "titok"),
        ("reference/titok/uvit_s128_state_dict.json", "titok"),
        ("reference/titok/tokenizer_s128_state_dict.json", "titok"),
        ("reference/halton/maskgit_large_state_dict.json", "halton"),
        ("reference/halton/vq_ds16_c2i_state_dict.json", "llamagen"),
        ("reference/amused/amused_256_state_dict.json", "amused"),
        ("reference/amused/amused_512_state_dict.json", "amused"),
        ("models/files/autonat_l_state_dict.json", "nat"),
        ("models/files/vqgan_f16_state_dict.json", "vqgan"),
    ],
)
def test_full_size_checkpoints_have_the_marks_of_one_kind(names: str, kind: str) -> None:
    found = [mark for mark in MARKS if mark.fits(json.loads((TESTS / names).read_text()))]
    assert [mark.name for mark in found] == [kind]


def test_other_names_are_of_no_kind() -> None:
    assert kind_of_names(["weight", "bias"]) is None
