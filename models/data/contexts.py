"""The states of captions by a text encoder, computed once and read from disk in training.

In a folder of token data, `contexts.npy` holds [1 + captions, C, E] float16: row 0 belongs to the
empty text, the other rows to the captions in the order of captions.parquet. `contexts.json` records
how they were made, and is written last.
N: images, C: tokens per caption, E: width of a state.
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

from models.data.array_file import mapped_array, reserve_space
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
    """The states of the captions of token data.

    Attributes:
        data: the images and their captions.
        states: [1 + captions, C, E] float16, memory-mapped; row 0 belongs to the empty text.
        first: the row of each image's first caption, [N] int64.
        counts: the number of captions of each image, [N] int64.
        encoder: the name of the text encoder.
        encoder_hash: the hash of its weights.
    """

    data: TokenData
    states: npt.NDArray[np.float16]
    first: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    encoder: str
    encoder_hash: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the folder, not its content."""
        return type(self).open, (self.data,)

    @property
    def null(self) -> Tensor:
        """The states of the empty text, [C, E] float32."""
        return torch.from_numpy(self.states[0].astype(np.float32))

    def of_rows(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of states that belong to rows of training data.

        An image gets its first caption, its mirror image the second one if there is one.
        """
        images, mirrored = rows // 2, rows % 2
        return self.first[images] + np.minimum(mirrored, self.counts[images] - 1)

    def of_images(self, images: npt.NDArray[np.int64]) -> Tensor:
        """Return the states [B, C, E] float32 of the first captions of images with numbers [B]."""
        return torch.from_numpy(self.states[self.first[images]]).float()

    @classmethod
    def open(cls, data: TokenData) -> Self:
        """Open the states beside the tokens.

        Raises:
            ValueError: there are none, or they do not belong to the captions.
        """
        path = data.folder / SETTINGS
        if not path.exists():
            raise ValueError(f"{data.folder}: no contexts; run autonat embed to make them")
        settings, states = _read_settings(path), _map_states(data.folder / CONTEXTS)
        first, counts = _caption_rows(data)
        if settings["data"] != data.hash():
            raise ValueError(
                f"{path}: made for other captions; delete it and run autonat embed again"
            )
        if len(states) != 1 + counts.sum():
            raise ValueError(
                f"{data.folder / CONTEXTS}: expected {1 + counts.sum()} rows, one more than "
                f"captions, got the shape {states.shape}"
            )
        return cls(data, states, first, counts, settings["encoder"], settings["encoder_hash"])


def store_contexts(
    data: TokenData, encoder: TextEncoder, batch: int, report: Report
) -> TextContexts:
    """Encode the captions of token data, or resume doing so after an interruption.

    Args:
        data: the images and their captions.
        encoder: the text encoder.
        batch: the number of captions encoded at once, >= 1.
        report: called with (captions done, captions, "").

    Raises:
        ValueError: an image has no caption, the folder has contexts of another encoder, a state is
            too large for float16, or the folder cannot be written or its disk is too small.
    """
    captions = data.captions()
    if captions is None:
        raise ValueError(f"{data.folder}: its images have no captions")
    _caption_rows(data)
    settings = {
        "format": FORMAT,
        "data": data.hash(),
        "encoder": encoder.name,
        "encoder_hash": encoder.hash(),
    }
    texts = ["", *captions["caption"].tolist()]
    shape = (len(texts), encoder.tokens, encoder.width)
    if (data.folder / SETTINGS).exists():
        _require_same(data.folder / SETTINGS, settings, shape, data.folder / CONTEXTS)
        return TextContexts.open(data)
    try:
        states, done = _partial_states(data.folder, settings, shape)
        for start in range(done, len(texts), batch):
            report(start, len(texts), "")
            states[start : start + batch] = _to_float16(
                encoder.encode(texts[start : start + batch])
            )
            states.flush()
            done = min(len(texts), start + batch)
            write_text(data.folder / BEGUN, json.dumps({**settings, "shape": shape, "done": done}))
        report(len(texts), len(texts), "")
        if (partial := data.folder / PARTIAL).exists():
            os.replace(partial, data.folder / CONTEXTS)
        write_text(data.folder / SETTINGS, json.dumps(settings))
        (data.folder / BEGUN).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"{data.folder}: {error.strerror or error}") from None
    return TextContexts.open(data)


def _partial_states(
    folder: Path, settings: dict[str, Any], shape: tuple[int, ...]
) -> tuple[np.memmap[Any, np.dtype[np.float16]], int]:
    """Return the array to fill, and how many of its rows are filled already."""
    partial = folder / PARTIAL
    if (folder / BEGUN).exists():
        begun = _read_settings(folder / BEGUN)
        if begun | settings == begun and begun.get("shape") == list(shape):
            done = begun.get("done")
            if type(done) is not int or not 0 <= done <= shape[0]:
                raise ValueError(
                    f"{folder / BEGUN}: expected done in [0, {shape[0]}], the rows, got {done!r}"
                )
            # A run may have ended after it renamed the array and before it wrote the settings.
            whole = done == shape[0] and not partial.exists()
            path = folder / CONTEXTS if whole else partial
            # An array that is missing or damaged is started anew.
            with contextlib.suppress(OSError, ValueError):
                return np.lib.format.open_memmap(path, mode="r+"), done
    states = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    reserve_space(partial)
    return states, 0


def _to_float16(states: Tensor) -> npt.NDArray[np.float16]:
    half = states.half()
    if not half.isfinite().all():
        largest = states.abs().max().item()
        raise ValueError(f"expected states of the text encoder that fit float16, got {largest:.4g}")
    found: npt.NDArray[np.float16] = half.numpy()
    return found


def _read_settings(path: Path) -> dict[str, Any]:
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
        raise ValueError(f"{path}: expected the format {FORMAT}, got another")
    return found


def _map_states(path: Path) -> npt.NDArray[np.float16]:
    states = mapped_array(path)
    if states.ndim != 3 or states.dtype != np.float16 or not len(states):
        raise ValueError(
            f"{path}: expected float16 of shape (1 + captions, C, E), got {states.dtype} of shape "
            f"{states.shape}"
        )
    for row in (0, -1):  # only two rows, because reading all may take an hour
        if not np.isfinite(states[row]).all():
            raise ValueError(f"{path}: row {row % len(states)} holds NaN or an infinity")
    found: npt.NDArray[np.float16] = states
    return found


def _require_same(
    path: Path, settings: dict[str, Any], shape: tuple[int, ...], states: Path
) -> None:
    theirs, found = _read_settings(path), _map_states(states).shape
    for name in ("data", "encoder_hash"):
        if theirs.get(name) != settings[name]:
            raise ValueError(f"{path}: made with another {name}; delete it to make contexts anew")
    if found != shape:
        raise ValueError(
            f"{states}: expected the shape {shape}, got {found}; delete {path} to make contexts "
            "anew"
        )


def _caption_rows(data: TokenData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the row of each image's first caption among the states, and its number of captions."""
    captions = data.captions()
    if captions is None:
        raise ValueError(f"{data.folder}: its images have no captions")
    counts = np.bincount(captions["image"].to_numpy(), minlength=data.images).astype(np.int64)
    without = np.flatnonzero(counts == 0)
    if len(without):
        raise ValueError(f"{data.folder}: image {without[0]} has no caption")
    return 1 + np.cumsum(counts) - counts, counts
