from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.data.token_data import (
    CAPTIONS,
    SETTINGS,
    TOKENS,
    TokenData,
    TokenSettings,
    read_public,
)

PLAIN = TokenSettings(1024, (4, 4), 64, "patches", "sha256:0", ("cat", "dog", "owl"), "here", 2)


def rows(images: int = 50, settings: TokenSettings = PLAIN) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    classes = np.repeat(rng.integers(0, max(1, len(settings.class_names)), images), 2)
    tokens = rng.integers(0, settings.codebook_size, (2 * images, settings.tokens))
    return np.concatenate([classes[:, None], tokens], axis=1)


def written(folder: Path, **changed: Any) -> TokenData:
    return TokenData.write(
        folder, PLAIN, 50, changed.get("blocks", [rows()]), changed.get("captions")
    )


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
    return found


def test_what_is_written_is_read_and_lies_in_the_file(tmp_path: Path) -> None:
    written(tmp_path / "data", blocks=np.array_split(rows(), 7))
    data = TokenData.open(tmp_path / "data")
    assert (data.settings, data.images, data.num_classes) == (PLAIN, 50, 3)
    np.testing.assert_array_equal(data.tokens, rows()[:, 1:])
    np.testing.assert_array_equal(data.classes, rows()[:, 0])
    for view in (data.tokens, data.classes):
        assert isinstance(view, np.memmap)
        assert not view.flags.owndata
        assert not view.flags.writeable
    assert data.captions() is None
    data.check()


@pytest.mark.usefixtures("full_disk")
def test_no_space_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A mapped file that runs out of space ends the process without a word."""
    with pytest.raises(ValueError, match=r"cannot reserve .* \(No space left on device"):
        written(tmp_path / "data")
    assert not [*(tmp_path / "data").glob("*.partial")]


@pytest.mark.parametrize(
    ("codebook_size", "dtype"), [(2, "uint8"), (256, "uint8"), (1024, "int16"), (65536, "int32")]
)
def test_the_array_is_as_narrow_as_torch_can_use(
    tmp_path: Path, codebook_size: int, dtype: str
) -> None:
    settings = TokenSettings(codebook_size, (2, 3))
    data = TokenData.write(tmp_path, settings, 50, [rows(50, settings)])
    assert data.tokens.dtype == dtype
    assert data.num_classes == 0
    np.testing.assert_array_equal(data.tokens, rows(50, settings)[:, 1:])


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    plain = written(tmp_path / "a").hash()
    wide = written(tmp_path / "b")
    np.save(tmp_path / "b" / TOKENS, rows())  # int64, as public files are
    assert wide.hash() == plain
    TokenData.open(tmp_path / "b").check()
    other = rows()
    other[17, 3] = (other[17, 3] + 1) % 1024
    hashes = {plain, written(tmp_path / "c", blocks=[other]).hash()}
    for texts in (["a", "b"], ["a", "c"]):
        captions = [texts, *[["x"]] * 49]
        hashes.add(written(tmp_path / "d", captions=captions).hash())
    assert len(hashes) == 4


def test_captions_by_image(tmp_path: Path) -> None:
    captions = [[f"image {i}", *(["an owl — seen"] if i % 2 else [])] for i in range(50)]
    found = written(tmp_path, captions=captions).captions()
    assert found is not None
    assert [list(group["caption"]) for _, group in found.groupby("image")] == captions
    TokenData.open(tmp_path).check()
    written(tmp_path)  # without any: the old ones go
    assert not (tmp_path / CAPTIONS).exists()


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"image": [0, 50], "caption": ["a", "b"]}, "in the column image that rise from 0 to 49"),
        ({"image": [3, 1], "caption": ["a", "b"]}, "in the column image that rise from 0 to 49"),
        ({"image": [1, 3], "caption": ["a", None]}, "not a table of captions"),
        ({"image": ["1"], "caption": ["a"]}, "not a table of captions"),
        ({"picture": [1]}, "not a table of captions"),
    ],
)
def test_captions_that_are_none(tmp_path: Path, table: dict[str, Any], line: str) -> None:
    data = written(tmp_path)
    pd.DataFrame(table).to_parquet(tmp_path / CAPTIONS)
    with pytest.raises(ValueError, match=line):
        data.captions()
    (tmp_path / CAPTIONS).write_text("no parquet")
    with pytest.raises(ValueError, match="not a table of captions"):
        data.captions()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"format": "autonat-tokens/9"}, "format = 'autonat-tokens/9' is unknown"),
        ({"codebook_size": 0}, "codebook_size = 0 is not an integer >= 1"),
        ({"codebook_size": "many"}, "codebook_size = 'many' is not an integer"),
        ({"codebook_size": 5}, r"token \d+ is outside \[0, 5\)"),
        ({"grid": [4, 5]}, "expected the classes and 4 x 5 tokens of 50 images"),
        ({"grid": 4}, "grid = 4 is not a list"),
        ({"grid": [16]}, r"expected grid = two positive integers, got \(16,\)"),
        ({"images": 49}, "tokens of 49 images"),
        ({"images": None}, "tokens of None images"),
        ({"hash": ...}, "the field 'hash' is missing"),
        ({"class_names": ["cat"]}, r"class \d is outside \[0, 1\)"),
        ({"class_names": None}, "class_names = None is not a list"),
        ({"skipped": -1}, "skipped = -1"),
        ({"tokenizer": ...}, "the field 'tokenizer' is missing"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, changed: dict[str, Any], line: str) -> None:
    written(tmp_path)
    content = {k: v for k, v in (told(tmp_path) | changed).items() if v is not ...}
    (tmp_path / SETTINGS).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=line) as error:
        TokenData.open(tmp_path)
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="settings.json: No such file"):
        TokenData.open(tmp_path)
    written(tmp_path)
    whole = (tmp_path / TOKENS).read_bytes()
    for content, line in (
        (None, "No such file"),
        (b"", "not a .npy array"),
        (b"no array at all", "not a .npy array"),
        (whole[:-100], "not a .npy array of numbers, or damaged or cut off"),
    ):
        (tmp_path / TOKENS).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / TOKENS).write_bytes(content)
        with pytest.raises(ValueError, match=line):
            TokenData.open(tmp_path)
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(ValueError, match="settings.json: not JSON"):
        TokenData.open(tmp_path)


def test_the_full_check_finds_what_opening_does_not(tmp_path: Path) -> None:
    written(tmp_path)
    for change, line in (
        (5000, "token 5000 is outside"),
        (0, "the content has changed since it was written"),
    ):
        changed = rows()
        changed[40, 7] = change
        np.save(tmp_path / TOKENS, changed)
        with pytest.raises(ValueError, match=line):
            TokenData.open(tmp_path).check()


@pytest.mark.parametrize(
    ("blocks", "line"),
    [
        ([rows()[:-1]], "expected 100 rows, got 99"),
        ([rows(), rows()], "expected rows that fill"),
        ([rows()[:, 1:]], "expected rows that fill"),
        ([rows() - 1], "token -1 is outside"),
        ([rows() + 1], "is outside"),
    ],
)
def test_rows_that_do_not_fit_leave_no_whole_folder(
    tmp_path: Path, blocks: list[Any], line: str
) -> None:
    written(tmp_path)
    with pytest.raises(ValueError, match=line):
        written(tmp_path, blocks=blocks)
    assert not (tmp_path / SETTINGS).exists()


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", ">i4"])
def test_a_public_file(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "public.npy", rows().astype(dtype))
    tokens, classes = read_public(tmp_path / "public.npy", 1024)
    np.testing.assert_array_equal(tokens, rows()[:, 1:])
    np.testing.assert_array_equal(classes, rows()[:, 0])
    data = TokenData.from_public(tmp_path / "public.npy", tmp_path / "data", 1024)
    np.testing.assert_array_equal(np.load(tmp_path / "data" / TOKENS), rows())
    assert (data.settings.grid, data.num_classes, data.images) == ((4, 4), 3, 50)
    assert data.hash() == written(tmp_path / "own").hash()
    with pytest.raises(ValueError, match="already contains tokens.npy"):
        TokenData.from_public(tmp_path / "public.npy", tmp_path / "data", 1024)


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (rows() * 1.0, "expected a 2-D array of integers, got"),
        (rows()[0], "expected a 2-D array of integers, got"),
        (rows()[:0], "expected one row and two columns or more"),
        (rows()[:, :1], "expected one row and two columns or more"),
        (rows()[:, :-1], "expected a square number of tokens per image, got 15"),
        (rows()[:-1], "expected two rows for each image .*, got 99"),
        (rows() + 1000, r"token \d+ is outside \[0, 1024\)"),
        (rows() - [[1, *[0] * 16]], "class -1 is negative"),
        (np.array([[{}]]), "not a .npy array"),  # a pickle inside
    ],
)
def test_a_public_file_that_is_none(tmp_path: Path, array: Any, line: str) -> None:
    np.save(tmp_path / "public.npy", array)
    with pytest.raises(ValueError, match=line):
        TokenData.from_public(tmp_path / "public.npy", tmp_path / "data", 1024)
    assert not (tmp_path / "data").exists()
