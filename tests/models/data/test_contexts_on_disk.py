"""Contexts whose making was ended, or whose files are not what they should be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import contexts
from models.data.contexts import BEGUN, CONTEXTS, PARTIAL, SETTINGS, TextContexts, store_contexts
from models.data.token_data import TokenData, TokenSettings

CAPTIONS = [["red"], ["blue", "sky"], ["a green triangle"]]


class Lengths:
    """An encoder that needs no library: of a caption the length, at every token."""

    name, tokens, width = "lengths", 3, 2

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.seen = scale, list[str]()

    def encode(self, captions: list[str]) -> Tensor:
        self.seen += captions
        lengths = torch.tensor([float(len(text)) for text in captions])
        return self.scale * lengths[:, None, None].expand(-1, 3, 2)

    def hash(self) -> str:
        return "sha256:lengths"


@pytest.fixture
def data(tmp_path: Path) -> TokenData:
    rows = np.zeros((6, 5), np.int64)
    return TokenData.write(tmp_path / "d", TokenSettings(4, (2, 2)), 3, [rows], CAPTIONS)


def store(data: TokenData, encoder: Any) -> TextContexts:
    return store_contexts(data, encoder, 2, lambda *_: None)


def test_captions_keep_their_order_and_places(data: TokenData) -> None:
    found = store(data, Lengths())
    assert found.states[:, 0, 0].tolist() == [0, 3, 4, 3, 16]
    assert found.first.tolist() == [1, 2, 4]
    assert found.counts.tolist() == [1, 2, 1]
    assert isinstance(found.states, np.memmap)
    assert sorted(p.name for p in data.folder.glob("contexts*")) == [SETTINGS, CONTEXTS]


@pytest.mark.parametrize("ended_before", ["replace", "settings", "unlink"])
def test_a_run_ended_at_its_last_step_encodes_nothing_again(
    data: TokenData, ended_before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, write = os.replace, contexts.write_text

    def no_replace(source: Path, target: Path) -> None:
        if ended_before == "replace" and Path(target).name == CONTEXTS:
            raise KeyboardInterrupt
        replace(source, target)

    def no_write(path: Path, text: str) -> None:
        if ended_before == "settings" and path.name == SETTINGS:
            raise KeyboardInterrupt
        write(path, text)
        if ended_before == "unlink" and path.name == SETTINGS:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(contexts.os, "replace", no_replace)
        patched.setattr(contexts, "write_text", no_write)
        with pytest.raises(KeyboardInterrupt):
            store(data, Lengths())
    again = Lengths()
    found = store(data, again)
    assert again.seen == []
    assert found.states[:, 0, 0].tolist() == [0, 3, 4, 3, 16]
    assert not (data.folder / PARTIAL).exists()


def test_a_run_of_another_encoder_is_begun_anew(data: TokenData) -> None:
    class Ends(Lengths):
        name = "another"

        def encode(self, captions: list[str]) -> Tensor:
            if self.seen:
                raise KeyboardInterrupt
            return super().encode(captions) + 100

    with pytest.raises(KeyboardInterrupt):
        store(data, Ends())
    assert (data.folder / BEGUN).exists()
    assert store(data, Lengths()).states[:, 0, 0].tolist() == [0, 3, 4, 3, 16]


def test_no_space_is_one_line_before_anything_is_encoded(
    data: TokenData, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("full_disk")  # after the data, which need space
    encoder = Lengths()
    with pytest.raises(
        ValueError, match=rf"{PARTIAL}: cannot reserve 0\.00 GB \(No space left on device"
    ):
        store(data, encoder)
    assert encoder.seen == []
    assert not (data.folder / PARTIAL).exists()


def test_states_beyond_float16_are_refused(data: TokenData) -> None:
    with pytest.raises(ValueError, match=r"that fit float16, got 9e\+04"):
        store(data, Lengths(30_000.0))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (SETTINGS, b"{", "contexts.json: cannot be read"),
        (SETTINGS, b"[]", "contexts.json: expected the format autonat-contexts/1"),
        (SETTINGS, b'{"format": "autonat-contexts/1"}', "contexts.json: expected the format"),
        (CONTEXTS, b"", "contexts.npy: not a .npy array of numbers, or damaged"),
        (CONTEXTS, b"hello", "contexts.npy: not a .npy array of numbers, or damaged"),
        (CONTEXTS, None, "contexts.npy: No such file"),
    ],
)
def test_files_that_are_no_contexts(
    data: TokenData, name: str, content: bytes | None, line: str
) -> None:
    store(data, Lengths())
    path = data.folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for use in (lambda: TextContexts.open(data), lambda: store(data, Lengths())):
        with pytest.raises(ValueError, match=line) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (np.zeros((5, 3, 2)), "expected float16 .*, got float64 of shape"),
        (np.zeros((5, 6), np.float16), r"got float16 of shape \(5, 6\)"),
        (np.zeros((4, 3, 2), np.float16), r"expected 5 rows, .*, got the shape \(4, 3, 2\)"),
    ],
)
def test_arrays_that_do_not_fit(data: TokenData, array: Any, line: str) -> None:
    store(data, Lengths())
    np.save(data.folder / CONTEXTS, array)
    with pytest.raises(ValueError, match=line):
        TextContexts.open(data)


def test_contexts_of_other_captions_are_told(data: TokenData) -> None:
    store(data, Lengths())
    told = json.loads((data.folder / SETTINGS).read_text())
    (data.folder / SETTINGS).write_text(json.dumps(told | {"data": "sha256:0"}))
    with pytest.raises(ValueError, match="made for other captions; delete it"):
        TextContexts.open(data)


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (np.full((5, 3, 2), np.nan, np.float16), "contexts.npy: row 0 holds NaN or an infinity"),
        (np.zeros((5, 3, 2)), "float64 of shape"),
        (np.zeros((0, 3, 2), np.float16), "float16 of shape"),
        (np.array([[[{}]]], object), "contexts.npy: not a .npy array of numbers"),
        (None, "contexts.npy: expected a .npy file, got a .npz file"),
    ],
)
def test_arrays_that_are_no_states(data: TokenData, array: Any, line: str) -> None:
    store(data, Lengths())
    with (data.folder / CONTEXTS).open("wb") as file:
        np.savez(file, a=np.zeros(2)) if array is None else np.save(file, array)
    with pytest.raises(ValueError, match=line):
        TextContexts.open(data)


@pytest.mark.parametrize("cut", [True, False])
def test_what_is_left_of_a_run_is_checked(data: TokenData, cut: bool) -> None:
    class Ends(Lengths):
        def encode(self, captions: list[str]) -> Tensor:
            if self.seen:
                raise KeyboardInterrupt
            return super().encode(captions)

    with pytest.raises(KeyboardInterrupt):
        store(data, Ends())
    if cut:
        (data.folder / PARTIAL).write_bytes((data.folder / PARTIAL).read_bytes()[:-4])
        assert store(data, Lengths()).states[:, 0, 0].tolist() == [0, 3, 4, 3, 16]
        return
    begun = json.loads((data.folder / BEGUN).read_text())
    (data.folder / BEGUN).write_text(json.dumps({**begun, "done": "two"}))
    with pytest.raises(ValueError, match=f"{BEGUN}: expected done in .*, got 'two'"):
        store(data, Lengths())
