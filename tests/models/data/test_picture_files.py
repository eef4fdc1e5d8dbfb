"""Folders with links, pipes and names that are not UTF-8: each real file once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.image_sources import open_source
from models.data.picture_files import files_below, printable
from models.data.token_data import TokenData
from models.data.tokenize import SKIPPED

Autonat = Callable[..., tuple[int, str, str]]


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def link(root: Path, name: str, target: str | Path) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_folder_by_folder_without_what_is_hidden(tmp_path: Path) -> None:
    put(tmp_path, "b/2.png", "b/a/3.png", "b.png", "a/9.png", "a.png", ".git/x", "b/.x.png")
    found = [name for name, _ in files_below(tmp_path)]
    assert found == ["a.png", "b.png", "a/9.png", "b/2.png", "b/a/3.png"]


def test_every_real_file_once_by_its_own_name(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    put(root, "a/1.png", "a/2.png", "b/3.png", "b/.hidden.png")
    put(tmp_path, "other/4.png", "other/deep/5.png", "store/f00d", "store/.beef")
    os.link(root / "a" / "1.png", root / "a" / "hard.png")
    link(root, "aa/loop", root)  # to all of it
    link(root, "b/parent", tmp_path)  # to more than it: what is new there is taken
    link(root, "b/again.png", "3.png")
    link(root, "b/self", "self")
    link(root, "b/shown.png", ".hidden.png")
    link(root, "c/blob.png", "../../store/f00d")
    link(root, "c/twice.png", "../../store/f00d")
    assert dict(files_below(root)) == {
        "a/1.png": None,
        "a/2.png": None,
        "a/hard.png": None,  # another name that a file system gives it, no link
        "aa/loop": "the same as ., which is listed already",
        "b/3.png": None,
        "b/again.png": "the same as b/3.png, which is listed already",
        "b/parent/other/4.png": None,
        "b/parent/other/deep/5.png": None,
        "b/parent/pictures": "the same as ., which is listed already",
        "b/parent/store/f00d": None,
        "b/self": None,  # reading it says what it is
        "b/shown.png": None,
        "c/blob.png": "the same as b/parent/store/f00d, which is listed already",
        "c/twice.png": "the same as b/parent/store/f00d, which is listed already",
    }
    assert open_source(root).class_names == ("a", "b")


def test_folders_of_links_are_classes(tmp_path: Path) -> None:
    """Sub-sets of large collections are made so."""
    put(tmp_path, "all/n01/1.png", "all/n02/2.png", "other/3.png")
    root = tmp_path / "some"
    link(root, "ape", tmp_path / "all" / "n01")
    link(root, "zebra/3.png", "../../other/3.png")
    link(root, "zz", tmp_path / "all")
    source = open_source(root)
    assert source.class_names == ("ape", "zebra", "zz")
    assert [(item.name, item.label, item.fault) for item in source.items] == [
        ("ape/1.png", 0, None),
        ("zebra/3.png", 1, None),
        ("zz/n01", 2, "the same as ape, which is listed already"),
        ("zz/n02/2.png", 2, None),
    ]


def test_names_can_be_written_anywhere() -> None:
    assert printable("caf\xe9 [1]/\u3042.png") == "caf\xe9 [1]/\u3042.png"
    assert printable(os.fsdecode(b"caf\xe9\n\x1b[2J.png")) == r"caf\xe9\x0a\x1b[2J.png"
    assert printable("\ud83d") == r"\ud83d"


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """28 pictures in two classes, one of a name that is not UTF-8, and all that is no picture."""
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    latin = os.fsdecode(b"caf\xe9")
    for index in range(28):
        file = root / ("bar", latin)[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(file)
    (root / latin / os.fsdecode(b"brok\xe9n.png")).write_text("no picture")
    link(root, "loop", root)
    link(root, "bar/link.png", "nothing")
    os.mkfifo(root / "bar" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "bar" / "socket.png"))
    return root


FAULTS = [
    "loop\tthe same as ., which is listed already",
    "bar/link.png\ta broken link",
    "bar/pipe.png\ta named pipe (FIFO), not a regular file",
    "bar/socket.png\ta socket, not a regular file",
    r"caf\xe9/brok\xe9n.png" + "\tnot an image",
]


@pytest.mark.parametrize("workers", [0, 1])
def test_tokenize_finishes(autonat: Autonat, awkward: Path, tmp_path: Path, workers: int) -> None:
    """Twice: the second finds it done."""
    words = ["--tokenizer", "patches", "--codebook-size", 8, "--size", 16, "--workers", workers]
    for _ in range(2):
        code, out, err = autonat("tokenize", awkward, "--out", tmp_path / "tokens", *words)
        assert code == 0, err
        assert "28 images and their mirror images" in out
    data = TokenData.open(tmp_path / "tokens")
    assert (data.images, data.settings.skipped) == (28, len(FAULTS))
    assert data.settings.class_names == ("bar", r"caf\xe9")
    assert (tmp_path / "tokens" / SKIPPED).read_text().splitlines() == FAULTS


def test_statistics_finish(autonat: Autonat, awkward: Path) -> None:
    words = ["--features", "pixels", "--side", 2, "--size", 16, "--out", "r.npz", "--workers", 0]
    code, out, err = autonat("statistics", awkward, *words)
    assert code == 0, err
    assert "28 images, 12 features, 5 skipped" in out
    said = [line for line in err.splitlines() if line.startswith("skipped ")]
    assert said == ["skipped " + fault.replace("\t", ": ") for fault in FAULTS]


@pytest.mark.parametrize("command", ["tokenize", "statistics"])
def test_out_is_utf8(autonat: Autonat, awkward: Path, command: str) -> None:
    """Libraries that open what lies there take no other path; said before anything is decoded."""
    words = {
        "tokenize": ["--tokenizer", "patches", "--out", os.fsdecode(b"caf\xe9/tokens")],
        "statistics": ["--features", "pixels", "--out", os.fsdecode(b"caf\xe9/real.npz")],
    }[command]
    code, out, err = autonat(command, awkward, *words)
    assert (code, out) == (2, "")
    assert r"autonat: --out: expected a path in UTF-8, got caf\xe9/" in err
