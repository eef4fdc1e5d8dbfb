"""Token data: a folder of images as tokens, from which training reads without loading all of it.

`tokens.npy` has the public layout: [rows, 1 + L] integers, with the class in column 0 (0 if there
are no classes), followed by the tokens. Rows 2i and 2i + 1 are image i and its mirror image.
`settings.json` describes the tokens. It is written last, so that a folder without it is incomplete.
`captions.parquet` exists if images have captions, with the columns image (0 … N - 1, rising) and
caption.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.data.array_file import mapped_array, reserve_space
from search.files import write_text, write_whole

FORMAT = "autonat-tokens/1"
TOKENS = "tokens.npy"
SETTINGS = "settings.json"
RUN = "tokenize.json"
"""The settings of the run that makes the data, which it writes first."""
CAPTIONS = "captions.parquet"
BLOCK_BYTES = 1 << 26
"""The number of bytes of a streamed array that are read at once."""

Array = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TokenSettings:
    """A description of the tokens.

    Attributes:
        codebook_size: K; tokens are in [0, K).
        grid: rows and columns (h, w) of an image's tokens; L = h * w.
        image_size: the side of the images in pixels, if known.
        tokenizer: the name of the tokenizer, if known.
        tokenizer_hash: the hash of the tokenizer, if known.
        class_names: the names of the classes; empty if there are no classes.
        source: the source of the images, for people to read.
        skipped: the number of images of the source that could not be used.

    Raises:
        ValueError: a value is of another type or out of range.
    """

    codebook_size: int
    grid: tuple[int, int]
    image_size: int | None = None
    tokenizer: str | None = None
    tokenizer_hash: str | None = None
    class_names: tuple[str, ...] = ()
    source: str = ""
    skipped: int = 0

    def __post_init__(self) -> None:
        least = {"codebook_size": 1, "skipped": 0} | (
            {} if self.image_size is None else {"image_size": 1}
        )
        for name, lowest in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise ValueError(f"{name} = {value!r} is not an integer >= {lowest}")
        if len(self.grid) != 2 or not all(type(n) is int and n >= 1 for n in self.grid):
            raise ValueError(f"expected grid = two positive integers, got {self.grid!r}")
        for name in self.class_names:
            if not isinstance(name, str):
                raise ValueError(f"expected class_names that are strings, got {name!r}")

    @property
    def tokens(self) -> int:
        """L, the number of tokens of an image."""
        return math.prod(self.grid)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Make settings from the content of `settings.json`.

        Raises:
            ValueError: a field is missing or not valid.
        """
        fields = {}
        for name in cls.__dataclass_fields__:
            if name not in value:
                raise ValueError(f"the field {name!r} is missing")
            fields[name] = value[name]
        for name in ("grid", "class_names"):
            if not isinstance(fields[name], list):
                raise ValueError(f"{name} = {fields[name]!r} is not a list")
            fields[name] = tuple(fields[name])
        return cls(**fields)


class TokenData:
    """The tokens in a folder, memory-mapped.

    Attributes:
        folder: the folder.
        settings: the description of the tokens.
        tokens: [rows, L] integers in [0, K), a view of the file.
        classes: [rows] integers, a view of the file.
    """

    def __init__(self, folder: Path, settings: TokenSettings, rows: Array, digest: str) -> None:
        self.folder, self.settings = folder, settings
        self.tokens, self.classes = rows[:, 1:], rows[:, 0]
        self._rows, self._digest = rows, digest

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder; only the first and last rows are read, and `check` reads all.

        Raises:
            ValueError: a file is missing or not valid, or the files do not fit together.
        """
        folder = Path(folder)
        if (folder / RUN).is_file() and not (folder / SETTINGS).exists():
            raise ValueError(
                f"{folder}: not all of its images are tokenised yet; repeat the same autonat "
                "tokenize command to go on"
            )
        content = _read_json(folder / SETTINGS)
        if content.get("format") != FORMAT:
            line = f"format = {content.get('format')!r} is unknown; known: {FORMAT}"
            raise ValueError(f"{folder / SETTINGS}: {line}")
        try:
            settings = TokenSettings.from_json(content)
            if not isinstance(content.get("hash"), str):
                raise ValueError("the field 'hash' is missing")
        except ValueError as error:
            raise ValueError(f"{folder / SETTINGS}: {error}") from None
        rows = _map_rows(folder / TOKENS)
        if rows.shape[1] != 1 + settings.tokens or len(rows) / 2 != content.get("images"):
            h, w = settings.grid
            raise ValueError(
                f"{folder / TOKENS}: expected the classes and {h} x {w} tokens of "
                f"{content.get('images')} images and their mirror images, got {rows.shape}"
            )
        for block in (rows[:2], rows[-2:]):
            _check_rows(folder / TOKENS, block, settings)
        return cls(folder, settings, rows, content["hash"])

    @classmethod
    def from_public(
        cls,
        path: str | Path,
        folder: str | Path,
        codebook_size: int,
        *,
        factor: int | None = None,
        tokenizer: str | None = None,
        tokenizer_hash: str | None = None,
    ) -> Self:
        """Copy a public .npy file into a new folder; classes are named by their numbers.

        Args:
            path: a file of [rows, 1 + L] integers, where L is a square number and the two rows of
                an image are adjacent.
            folder: the folder to make; it must not contain tokens yet.
            codebook_size: K.
            factor: the side in pixels of the square that a token stands for, if known.
            tokenizer: the name of the tokenizer, if known.
            tokenizer_hash: the hash of the tokenizer, if known.

        Raises:
            ValueError: the file is not such an array, or the folder contains tokens.
        """
        tokens, classes = read_public(path, codebook_size)
        side = math.isqrt(tokens.shape[1])
        if side * side != tokens.shape[1]:
            raise ValueError(
                f"{path}: expected a square number of tokens per image, got {tokens.shape[1]}"
            )
        if len(tokens) % 2:
            raise ValueError(
                f"{path}: expected two rows for each image and its mirror image, got "
                f"{len(tokens)} rows"
            )
        if (Path(folder) / TOKENS).exists():
            raise ValueError(f"{folder} already contains {TOKENS}")
        settings = TokenSettings(
            codebook_size,
            (side, side),
            None if factor is None else side * factor,
            tokenizer,
            tokenizer_hash,
            tuple(str(c) for c in range(int(classes.max()) + 1)),
            source=f"public {Path(path).name}",
        )
        rows = _map_rows(Path(path))
        return cls.write(folder, settings, len(rows) // 2, _blocks(rows))

    @classmethod
    def write(
        cls,
        folder: str | Path,
        settings: TokenSettings,
        images: int,
        blocks: Iterable[Array],
        captions: Sequence[Sequence[str]] | None = None,
    ) -> Self:
        """Write a folder, with `settings.json` last.

        Args:
            folder: the folder, which is made if it is missing.
            settings: the description of the tokens.
            images: N.
            blocks: arrays [*, 1 + L] that together are the 2N rows.
            captions: the captions of each of the N images.

        Raises:
            ValueError: there are no images, the number of rows or captions is wrong, a class or
                token is out of range, or the folder cannot be written.
        """
        folder = Path(folder)
        if images < 1:
            raise ValueError(f"{folder}: no images")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SETTINGS).unlink(missing_ok=True)
            _write_rows(folder / TOKENS, settings, images, blocks)
            (folder / CAPTIONS).unlink(missing_ok=True)
            if captions is not None:
                _write_captions(folder / CAPTIONS, images, captions)
            rows, texts = _map_rows(folder / TOKENS), _read_captions(folder / CAPTIONS, images)
            content = {
                "format": FORMAT,
                **asdict(settings),
                "images": images,
                "hash": _content_hash(rows, texts),
            }
            write_text(folder / SETTINGS, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise ValueError(f"{folder}: {error.strerror or error}") from None
        return cls.open(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the folder, not its content."""
        return type(self).open, (self.folder,)

    @property
    def images(self) -> int:
        """N, the number of images; there are twice as many rows."""
        return len(self._rows) // 2

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 if there are none."""
        return len(self.settings.class_names)

    def captions(self) -> pd.DataFrame | None:
        """Return a table with the columns image (0 … N - 1, rising) and caption.

        None if the images have no captions.

        Raises:
            ValueError: the file is not such a table.
        """
        return _read_captions(self.folder / CAPTIONS, self.images)

    def hash(self) -> str:
        """Return the SHA-256 of rows and captions, as recorded when they were written.

        It does not depend on the type of the integers.
        """
        return self._digest

    def check(self) -> None:
        """Read and check everything.

        Raises:
            ValueError: a class or token is out of range, or the content has changed since it was
                written.
        """
        for block in _blocks(self._rows):
            _check_rows(self.folder / TOKENS, block, self.settings)
        if _content_hash(self._rows, self.captions()) != self._digest:
            raise ValueError(f"{self.folder}: the content has changed since it was written")


def read_public(path: str | Path, codebook_size: int) -> tuple[Array, Array]:
    """Map the tokens [rows, L] and classes [rows] of a public .npy file, and check all of them.

    Raises:
        ValueError: the file is not a 2-D array of integers, or a class or token is out of range.
    """
    rows = _map_rows(Path(path))
    for block in _blocks(rows):
        _check_tokens(path, block, codebook_size)
    return rows[:, 1:], rows[:, 0]


def _map_rows(path: Path) -> Array:
    rows = mapped_array(path)
    if rows.dtype.kind not in "iu" or rows.ndim != 2:
        raise ValueError(
            f"{path}: expected a 2-D array of integers, got {rows.ndim}-D of {rows.dtype}"
        )
    if rows.shape[0] < 1 or rows.shape[1] < 2:
        raise ValueError(
            f"{path}: expected one row and two columns or more, got the shape {rows.shape}"
        )
    return rows


def _blocks(rows: Array) -> Iterator[Array]:
    step = max(1, BLOCK_BYTES // (rows.itemsize * rows.shape[1]))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _check_rows(path: str | Path, block: Array, settings: TokenSettings) -> None:
    _check_tokens(path, block, settings.codebook_size)
    classes = max(1, len(settings.class_names))
    if (highest := int(block[:, 0].max())) >= classes:
        raise ValueError(f"{path}: class {highest} is outside [0, {classes})")


def _check_tokens(path: str | Path, block: Array, codebook_size: int) -> None:
    low, high = int(block[:, 1:].min()), int(block[:, 1:].max())
    if low < 0 or high >= codebook_size:
        raise ValueError(f"{path}: token {min(low, 0) or high} is outside [0, {codebook_size})")
    if (lowest := int(block[:, 0].min())) < 0:
        raise ValueError(f"{path}: class {lowest} is negative")


def _write_rows(path: Path, settings: TokenSettings, images: int, blocks: Iterable[Array]) -> None:
    # int16 rather than uint16, with which torch can hardly compute.
    highest = max(settings.codebook_size, len(settings.class_names)) - 1
    dtype = next(t for t in (np.uint8, np.int16, np.int32) if highest <= np.iinfo(t).max)
    shape = (2 * images, 1 + settings.tokens)
    with write_whole(path) as partial:
        rows = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
        reserve_space(partial)
        done = 0
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != rows.shape[1] or done + len(block) > len(rows):
                raise ValueError(
                    f"expected rows that fill {rows.shape}, got {block.shape} at row {done}"
                )
            if len(block):
                _check_rows(path, block, settings)
            rows[done : done + len(block)] = block
            done += len(block)
        if done < len(rows):
            raise ValueError(f"expected {len(rows)} rows, got {done}")
        rows.flush()


def _write_captions(path: Path, images: int, captions: Sequence[Sequence[str]]) -> None:
    if len(captions) != images:
        raise ValueError(f"expected captions of {images} images, got those of {len(captions)}")
    counts = [len(texts) for texts in captions]
    table = pd.DataFrame(
        {
            "image": np.repeat(np.arange(images), counts),
            "caption": pd.array([text for texts in captions for text in texts], dtype="string"),
        }
    )
    with write_whole(path) as partial:
        table.to_parquet(partial, index=False)


def _read_captions(path: Path, images: int) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        found = pd.read_parquet(path, columns=["image", "caption"])
    except (OSError, ValueError, KeyError):  # includes pyarrow's errors, which are ValueErrors
        raise ValueError(f"{path}: not a table of captions") from None
    image = found["image"].to_numpy()
    if image.dtype.kind not in "iu" or found["caption"].isna().any():
        raise ValueError(f"{path}: not a table of captions")
    if len(image) and (image[0] < 0 or image[-1] >= images or (np.diff(image) < 0).any()):
        raise ValueError(
            f"{path}: expected numbers in the column image that rise from 0 to {images - 1}"
        )
    return found


def _content_hash(rows: Array, captions: pd.DataFrame | None) -> str:
    digest = hashlib.sha256(f"{rows.shape}".encode())
    for block in _blocks(rows):
        digest.update(np.ascontiguousarray(block, "<i4").tobytes())
    if captions is not None:
        for image, caption in zip(captions["image"], captions["caption"], strict=True):
            digest.update(json.dumps([int(image), caption]).encode())
    return f"sha256:{digest.hexdigest()}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: not JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object")
    return found
