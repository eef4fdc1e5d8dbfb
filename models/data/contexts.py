"""Captions as a text encoder's states, computed once and read from disk while training.

In a folder of token data `contexts.npy` holds [1 + captions, C, E] float16: row 0 is that of no
text, then the captions in the order of captions.parquet. `contexts.json` says what made them and is
written last. N: images, C: tokens a caption, E: width of a state.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.data.array_file import mapped_array
from models.data.text import TextEncoder
from models.data.token_data import TokenData
from search.files import write_text
from search.progress import Report

CONTEXTS = "contexts.npy"
SETTINGS = "contexts.json"
PARTIAL = "contexts.npy.partial"
BEGUN = "contexts.begun.json"
FORMAT = "autonat-contexts/1"


@dataclass(frozen=True)
class TextContexts:
    """States of a folder's captions.

    Attributes:
        data: the images and their captions.
        states: [1 + captions, C, E] float16, memory-mapped; row 0 is that of no text.
        first: [N] int64, row of each image's first caption.
        counts: [N] int64, how many it has.
        encoder: its name.
        encoder_hash: of its weights.
    """

    data: TokenData
    states: npt.NDArray[np.float16]
    first: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    encoder: str
    encoder_hash: str

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process the folder travels, not its content."""
        return type(self).open, (self.data,)

    @property
    def null(self) -> Tensor:
        """Of no text, [C, E] float32."""
        return torch.from_numpy(self.states[0].astype(np.float32))

    def of_rows(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows of states that training data's rows see: an image its first caption, its mirror
        image the second where there is one."""
        images, mirrored = rows // 2, rows % 2
        return self.first[images] + np.minimum(mirrored, self.counts[images] - 1)

    def of_images(self, images: npt.NDArray[np.int64]) -> Tensor:
        """The states [B, C, E] float32 of the first captions of images, by their numbers [B]."""
        return torch.from_numpy(self.states[self.first[images]]).float()

    @classmethod
    def open(cls, data: TokenData) -> Self:
        """Those that lie beside the tokens.

        Raises:
            ValueError: there are none, or they do not fit the captions.
        """
        path = data.folder / SETTINGS
        if not path.exists():
            raise ValueError(f"{data.folder}: no contexts; autonat embed makes them")
        told, states = _read(path), _mapped(data.folder / CONTEXTS)
        first, counts = _places(data)
        if told["data"] != data.hash():
            raise ValueError(
                f"{path}: made for other captions; delete it and run autonat embed again"
            )
        if len(states) != 1 + counts.sum():
            raise ValueError(f"{data.folder / CONTEXTS}: {states.shape} does not fit the captions")
        return cls(data, states, first, counts, told["encoder"], told["encoder_hash"])


def store_contexts(
    data: TokenData, encoder: TextEncoder, batch: int, report: Report
) -> TextContexts:
    """Encode a folder's captions, or go on doing so; what is encoded is not encoded again.

    Args:
        data: with captions.
        encoder: which.
        batch: captions at once, >= 1.
        report: called with (captions done, captions, "").

    Raises:
        ValueError: no captions, images without one, contexts of another encoder, states that
            float16 does not hold, or a folder that cannot be written or holds too little.
    """
    captions = data.captions()
    if captions is None:
        raise ValueError(f"{data.folder}: its images have no captions")
    _places(data)
    told = {
        "format": FORMAT,
        "data": data.hash(),
        "encoder": encoder.name,
        "encoder_hash": encoder.hash(),
    }
    texts = ["", *captions["caption"].tolist()]
    shape = (len(texts), encoder.tokens, encoder.width)
    if (data.folder / SETTINGS).exists():
        _same(data.folder / SETTINGS, told, shape, data.folder / CONTEXTS)
        return TextContexts.open(data)
    try:
        states, done = _begun(data.folder, told, shape)
        for start in range(done, len(texts), batch):
            report(start, len(texts), "")
            states[start : start + batch] = _halved(encoder.encode(texts[start : start + batch]))
            states.flush()
            done = min(len(texts), start + batch)
            write_text(data.folder / BEGUN, json.dumps({**told, "shape": shape, "done": done}))
        report(len(texts), len(texts), "")
        if (partial := data.folder / PARTIAL).exists():
            os.replace(partial, data.folder / CONTEXTS)
        write_text(data.folder / SETTINGS, json.dumps(told))
        (data.folder / BEGUN).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"{data.folder}: {error.strerror or error}") from None
    return TextContexts.open(data)


def _begun(
    folder: Path, told: dict[str, Any], shape: tuple[int, ...]
) -> tuple[np.memmap[Any, np.dtype[np.float16]], int]:
    """The array to fill, and how many of its rows are."""
    partial = folder / PARTIAL
    if (folder / BEGUN).exists():
        begun = _read(folder / BEGUN)
        if begun | told == begun and begun.get("shape") == list(shape):
            done = begun.get("done")
            if type(done) is not int or not 0 <= done <= shape[0]:
                raise ValueError(f"{folder / BEGUN}: done = {done!r} is not a number of rows")
            # A run may have ended between its last name and its settings.
            whole = done == shape[0] and not partial.exists()
            path = folder / CONTEXTS if whole else partial
            # One that is cut off or gone is begun anew.
            with contextlib.suppress(OSError, ValueError):
                return np.lib.format.open_memmap(path, mode="r+"), done
    states = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    _reserve(partial)
    return states, 0


def _reserve(path: Path) -> None:
    """Take the file's space on disk: a mapped file that finds none later kills the process.

    Raises:
        ValueError: there is not that much.
    """
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink()
        raise ValueError(f"{path}: {size / 1e9:.2f} GB: {error.strerror}") from None


def _halved(states: Tensor) -> npt.NDArray[np.float16]:
    half = states.half()
    if not half.isfinite().all():
        largest = states.abs().max().item()
        raise ValueError(f"a text encoder's state of {largest:.4g} is beyond float16")
    found: npt.NDArray[np.float16] = half.numpy()
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path}: cannot be read") from None
    names = ("data", "encoder", "encoder_hash")
    if (
        not isinstance(found, dict)
        or found.get("format") != FORMAT
        or not all(isinstance(found.get(name), str) for name in names)
    ):
        raise ValueError(f"{path}: not of the format {FORMAT}")
    return found


def _mapped(path: Path) -> npt.NDArray[np.float16]:
    states = mapped_array(path)
    if states.ndim != 3 or states.dtype != np.float16 or not len(states):
        raise ValueError(f"{path}: {states.dtype} of shape {states.shape} is not states of texts")
    for row in (0, -1):  # as of tokens; to read all may take an hour
        if not np.isfinite(states[row]).all():
            raise ValueError(f"{path}: row {row % len(states)} holds NaN or an infinity")
    found: npt.NDArray[np.float16] = states
    return found


def _same(path: Path, told: dict[str, Any], shape: tuple[int, ...], states: Path) -> None:
    theirs, found = _read(path), _mapped(states).shape
    for name in ("data", "encoder_hash"):
        if theirs.get(name) != told[name]:
            raise ValueError(f"{path}: made with another {name}; delete it to make them anew")
    if found != shape:
        raise ValueError(f"{states}: {found} is not {shape}; delete it to make them anew")


def _places(data: TokenData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each image's first caption's row among the states, and how many captions it has."""
    captions = data.captions()
    if captions is None:
        raise ValueError(f"{data.folder}: its images have no captions")
    counts = np.bincount(captions["image"].to_numpy(), minlength=data.images).astype(np.int64)
    without = np.flatnonzero(counts == 0)
    if len(without):
        raise ValueError(f"{data.folder}: image {without[0]} has no caption")
    return 1 + np.cumsum(counts) - counts, counts
