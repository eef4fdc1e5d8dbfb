"""Turns images into token data: decoded in parallel, encoded in batches, kept in shards.

A shard is a run of the source's images, written whole or not at all; a run that was killed does
again only the shard that it was at. The shards are merged at the end, in the source's order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.patches import PatchTokenizer
from models.token_data import SETTINGS, TOKENS, TokenData, TokenSettings
from models.tokenizers import Tokenizer, load_tokenizer
from trials.image_sources import ImageSource, Item, Report, UnusableImage, load_image

SHARD_IMAGES = 1024
RUN = "tokenize.json"
SHARDS = "shards"
SKIPPED = "skipped.tsv"
FITTED = "tokenizer.safetensors"
FIT_IMAGES = 2048
"""What a tokenizer is fitted on at most, spread over the source."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """What became of a batch's images.

    Attributes:
        pixels: [n, size, size, 3] of those that can be used.
        faults: for each image of the batch the reason why it cannot be used, or "".
    """

    pixels: Pixels
    faults: list[str]


@dataclass(frozen=True)
class Tokenizing:
    """A run, which another one can go on with.

    Attributes:
        source: the images.
        tokenizer: a name that `load_tokenizer` knows; "patches" is fitted on the images first.
        size: side of the images in pixels.
        folder: for the token data.
        factor: side of a patch in pixels, where patches are fitted.
        codebook_size: K, where patches are fitted.
        batch: images encoded at once, each with its mirror image.
        workers: processes that decode; 0: this one.
        shard_images: images of the source in a shard.

    Raises:
        ValueError: a number outside its range.
    """

    source: ImageSource
    tokenizer: str
    size: int
    folder: Path
    factor: int = 8
    codebook_size: int = 512
    batch: int = 32
    workers: int = 2
    shard_images: int = SHARD_IMAGES

    def __post_init__(self) -> None:
        least = {"size": 1, "factor": 1, "codebook_size": 2, "batch": 1, "workers": 0}
        for name, lowest in (least | {"shard_images": 1}).items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} = {getattr(self, name)} is below {lowest}")


def tokenize(run: Tokenizing, report: Report) -> TokenData:
    """Make token data, or go on making it; what is done already is not done again.

    Args:
        run: what to make.
        report: called with (images done, images, how many were skipped).

    Raises:
        ValueError: the folder holds something else, the tokenizer cannot be used, or no image can.
    """
    tokenizer = None if run.tokenizer == "patches" else load_tokenizer(run.tokenizer)
    _check_size(run.size, run.factor if tokenizer is None else tokenizer.factor)
    _claim(run, tokenizer)
    if not (run.folder / SETTINGS).exists():
        if tokenizer is None:
            tokenizer = _fitted(run)
        _encode_shards(run, tokenizer, report)
        _merge(run, tokenizer)
    shutil.rmtree(run.folder / SHARDS, ignore_errors=True)
    return TokenData.open(run.folder)


def _check_size(size: int, factor: int) -> None:
    if size % factor:
        raise ValueError(f"size = {size} is not a multiple of the tokenizer's factor {factor}")


def _claim(run: Tokenizing, tokenizer: Tokenizer | None) -> None:
    """Make the folder this run's, or see that it is."""
    ours: dict[str, Any] = {
        "tokenizer": run.tokenizer.partition(":")[0],
        "size": run.size,
        "images": run.source.hash(),
        "shard_images": run.shard_images,
    }
    if tokenizer is None:
        ours |= {"factor": run.factor, "codebook_size": run.codebook_size}
    else:
        ours |= {"tokenizer_hash": tokenizer.hash()}
    path = run.folder / RUN
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if (run.folder / TOKENS).exists():
                raise ValueError(f"{run.folder} holds token data that another source made")
            _write_text(path, json.dumps(ours, indent=2) + "\n")
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{run.folder}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: not JSON") from None
    for name in dict.fromkeys([*theirs, *ours]):
        if theirs.get(name) != ours.get(name):
            line = f"{name} was {theirs.get(name)!r} and is {ours.get(name)!r}"
            raise ValueError(f"{run.folder} is another run's: {line}; choose another folder")


def _fitted(run: Tokenizing) -> Tokenizer:
    """The patches fitted on the images, once."""
    path = run.folder / FITTED
    if not path.exists():
        step = -(-len(run.source.items) // FIT_IMAGES)
        sample = replace(run, source=replace(run.source, items=run.source.items[::step]))
        partial = path.with_name("partial." + path.name)
        PatchTokenizer.fit(
            _fit_batches(sample), run.factor, run.codebook_size, seed=0
        ).save(partial)
        os.replace(partial, path)
    return load_tokenizer(f"patches:{path}")
