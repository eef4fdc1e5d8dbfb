"""Prompts from lines, from COCO's captions and from token data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.data.prompts import read_prompts

COCO = {
    "images": [{"id": 3, "file_name": "b.jpg"}, {"id": 1, "file_name": "a.jpg"}],
    "annotations": [
        {"image_id": 1, "caption": " one "},
        {"image_id": 3, "caption": "three"},
        {"image_id": 1, "caption": "another"},
    ],
}


def test_lines_and_captions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffa cat\n\n  a dog \r\n", encoding="utf-8")
    assert read_prompts(tmp_path / "a.txt") == ("a cat", "a dog")
    odd = "one\u2028line\x0cof\x85many words"
    (tmp_path / "b.txt").write_text(f"{odd}\nanother\n", encoding="utf-8")
    assert read_prompts(tmp_path / "b.txt") == (odd, "another")
    (tmp_path / "coco.json").write_text(json.dumps(COCO))
    assert read_prompts(tmp_path / "coco.json") == ("three", "one")
    half = {"images": [], "annotations": [{"image_id": 1, "caption": "half \ud83d a pair"}]}
    (tmp_path / "coco.json").write_text(json.dumps(half))
    assert read_prompts(tmp_path / "coco.json") == ("half ? a pair",)


def test_what_holds_no_prompts_is_one_line(tmp_path: Path) -> None:
    for name, content, line in (
        ("empty.txt", b"\n \n", "it holds no prompt"),
        ("latin.txt", b"caf\xe9", "not UTF-8 text"),
        ("x.csv", b"a", "x.csv: expected a .txt file .* or a folder of token data"),
        ("x.json", b"[]", "not captions in the format of COCO"),
        (
            "y.json",
            b'{"images": [], "annotations": [{"image_id": 1}]}',
            "format of COCO .'caption'",
        ),
        ("z.json", b'{"images": [], "annotations": []}', "it holds no prompt"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: .*{line}|{line}"):
            read_prompts(tmp_path / name)
    with pytest.raises(ValueError, match="nothing.txt: No such file"):
        read_prompts(tmp_path / "nothing.txt")
    with pytest.raises(ValueError, match=r"settings.json"):
        read_prompts(tmp_path)
