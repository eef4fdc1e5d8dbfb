"""Turns images into token data: they are decoded in parallel, encoded in batches, kept in shards.

A shard holds consecutive images of the source and is written atomically, so a run that was killed
repeats at most one shard. In the end the shards are merged in the order of the source.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.data.image_batches import Decoded, batches_of, decode_batches, to_floats
from models.data.image_sources import ImageSource, Item
from models.data.token_data import RUN, SETTINGS, TOKENS, TokenData, TokenSettings
from models.precision import device
from models.tokenizers.patches import PatchTokenizer
from models.tokenizers.tokenizer import Tokenizer, load_tokenizer
from search.files import write_text, write_whole
from search.progress import Report, Reports

SHARD_IMAGES = 1024
SHARDS = "shards"
SKIPPED = "skipped.tsv"
FIT = "patches"
"""The name of the tokenizer that is fitted to the images and stored beside the tokens."""

FITTED = "tokenizer.safetensors"
FIT_IMAGES = 2048
"""The most images to which a tokenizer is fitted, drawn from the whole source."""


@dataclass(frozen=True)
class Tokenizing:
    """The settings of a run, which can be interrupted and resumed.

    Attributes:
        source: the images.
        tokenizer: a name for `load_tokenizer`, or "patches" for a tokenizer that is first fitted to
            the images.
        size: the side of the images in pixels.
        folder: the folder for the token data.
        factor: the side of a patch in pixels, if patches are fitted.
        codebook_size: K, if patches are fitted.
        batch: the number of images encoded at once, each with its mirror image.
        workers: the number of processes that decode images; 0 for this process.
        shard_images: the number of the source's images in a shard.

    Raises:
        ValueError: a number is out of range.
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


def tokenize(run: Tokenizing, report: Reports) -> TokenData:
    """Make token data, or resume an interrupted run.

    Args:
        run: the settings of the run.
        report: makes the report of a task, given its name.

    Raises:
        ValueError: the folder contains something else, the tokenizer cannot be used, or no image
            can be used.
    """
    tokenizer = None if run.tokenizer == FIT else _loaded(run.tokenizer)
    factor = run.factor if tokenizer is None else tokenizer.factor
    if run.size % factor:
        raise ValueError(f"size = {run.size} is not a multiple of the tokenizer's factor {factor}")
    if tokenizer is None:
        _require_patches(run)
    try:
        _claim_folder(run, tokenizer)
        if not (run.folder / SETTINGS).exists():
            with _given_back(run.folder):
                if tokenizer is None:
                    tokenizer = _fitted_tokenizer(run, report("fitting patches"))
                _encode_shards(run, tokenizer, report("tokenizing"))
                _merge_shards(run, tokenizer)
    except OSError as error:
        raise ValueError(f"{run.folder}: {error.strerror or error}") from None
    shutil.rmtree(run.folder / SHARDS, ignore_errors=True)
    return TokenData.open(run.folder)


def _loaded(name: str) -> Tokenizer:
    try:
        return load_tokenizer(name)
    except ValueError as error:
        if ":" in name:
            raise
        raise ValueError(f"{error}, or {FIT} alone, to fit one to your images") from None


def take_public(path: Path, tokenizer: str, folder: Path) -> TokenData:
    """Make token data from a public .npy file of tokens.

    Args:
        path: the file.
        tokenizer: the name of the tokenizer that made the tokens, for `load_tokenizer`.
        folder: the folder for the token data.

    Raises:
        ValueError: the file does not contain tokens, the tokenizer cannot be used, or the folder
            contains tokens.
    """
    if tokenizer == FIT:
        raise ValueError(
            f"{path} already contains tokens: expected the name of the tokenizer that made them, "
            f"got {FIT}"
        )
    found = load_tokenizer(tokenizer)
    return TokenData.from_public(
        path,
        folder,
        found.codebook_size,
        factor=found.factor,
        tokenizer=_with_absolute_path(tokenizer),
        tokenizer_hash=found.hash(),
    )


def tokenizer_of(data: TokenData) -> Tokenizer:
    """Load the tokenizer with which token data were made, to decode them.

    Raises:
        ValueError: the tokenizer is unknown, cannot be loaded, or has changed.
    """
    name = data.settings.tokenizer
    if name is None:
        raise ValueError(f"{data.folder}: the tokenizer of the tokens is unknown")
    found = load_tokenizer(f"{FIT}:{data.folder / FITTED}" if name == FIT else name)
    if found.hash() != data.settings.tokenizer_hash:
        raise ValueError(f"{name} is not the tokenizer with which {data.folder} was made")
    return found


def _claim_folder(run: Tokenizing, tokenizer: Tokenizer | None) -> None:
    """Record the run in its folder, or check that the folder belongs to this run."""
    ours: dict[str, Any] = {
        "tokenizer": run.tokenizer.partition(":")[0],
        "size": run.size,
        "images_hash": run.source.hash(),
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
                raise ValueError(f"{run.folder} contains token data that this run did not make")
            write_text(path, json.dumps(ours, indent=2) + "\n")
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: not JSON") from None
    if not isinstance(theirs, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(theirs).__name__}")
    for name in dict.fromkeys([*theirs, *ours]):
        if theirs.get(name) != ours.get(name):
            line = f"{name} was {theirs.get(name)!r} and is now {ours.get(name)!r}"
            raise ValueError(f"{run.folder} belongs to another run: {line}; choose another folder")


@contextlib.contextmanager
def _given_back(folder: Path) -> Iterator[None]:
    """Leave a folder to other settings if the block refuses these before it has made anything."""
    try:
        yield
    except ValueError:
        made = [folder / TOKENS, folder / FITTED, *(folder / SHARDS).glob("*")]
        if not any(path.exists() for path in made):
            (folder / RUN).unlink(missing_ok=True)
        raise


def _require_patches(run: Tokenizing) -> None:
    """Refuse too few patches before anything is decoded.

    Raises:
        ValueError: the images have fewer patches than there are codes.
    """
    images = min(run.source.usable, FIT_IMAGES)
    patches = images * (run.size // run.factor) ** 2
    if 0 < patches < run.codebook_size:
        raise ValueError(
            f"{run.source.place}: expected at least {run.codebook_size} patches for as many codes, "
            f"got {patches} patches of {images} images"
        )


def _fitted_tokenizer(run: Tokenizing, report: Report) -> Tokenizer:
    """Load the tokenizer fitted to the images; fit it first if it does not exist yet."""
    path = run.folder / FITTED
    if not path.exists():
        items = run.source.items
        # Shuffled, because k-means would forget the first classes by the end.
        sample = random.Random(0).sample(items, min(len(items), FIT_IMAGES))
        fitting = replace(run, source=replace(run.source, items=sample))
        batches = _fit_batches(fitting, report)
        PatchTokenizer.fit(batches, run.factor, run.codebook_size, seed=0).save(path)
    return load_tokenizer(f"{FIT}:{path}")


def _fit_batches(run: Tokenizing, report: Report) -> Iterator[Tensor]:
    done = usable = 0
    for decoded in decode_batches(batches_of(run.source.items, run.batch), run.size, run.workers):
        done += len(decoded.faults)
        report(done, len(run.source.items), "")
        if len(decoded.pixels):
            usable += len(decoded.pixels)
            yield to_floats(decoded.pixels)
    if not usable:
        raise ValueError(f"{run.source.place}: none of {len(run.source.items)} images can be used")


def _encode_shards(run: Tokenizing, tokenizer: Tokenizer, report: Report) -> None:
    """Write the shards that are missing."""
    items, step = run.source.items, run.shard_images
    (run.folder / SHARDS).mkdir(exist_ok=True)
    starts = range(0, len(items), step)
    known = {start: _shard_faults(run, start) for start in starts}
    missing = [start for start, faults in known.items() if faults is None]
    done = sum(len(faults) for faults in known.values() if faults is not None)
    skipped = sum(bool(fault) for faults in known.values() for fault in faults or ())
    plan = {start: batches_of(items[start : start + step], run.batch) for start in missing}
    every = decode_batches(
        [batch for batches in plan.values() for batch in batches], run.size, run.workers
    )
    tokenizer = tokenizer.to(device())
    report(done, len(items), _skipped_note(skipped))
    for start, batches in plan.items():
        rows, faults = [], []
        for batch, decoded in zip(batches, every, strict=False):
            rows.append(_encoded_rows(batch, decoded, tokenizer))
            faults += decoded.faults
            done, skipped = done + len(batch), skipped + sum(map(bool, decoded.faults))
            report(done, len(items), _skipped_note(skipped))
        _write_shard(run, start, np.concatenate(rows), faults)


def _skipped_note(skipped: int) -> str:
    return f"{skipped} skipped" if skipped else ""


def _merge_shards(run: Tokenizing, tokenizer: Tokenizer) -> None:
    """Write token data from all shards, and the list of skipped images."""
    items, starts = run.source.items, range(0, len(run.source.items), run.shard_images)
    faults = [fault for start in starts for fault in _shard_faults(run, start) or ()]
    skipped = [(item.name, fault) for item, fault in zip(items, faults, strict=True) if fault]
    write_text(
        run.folder / SKIPPED,
        "".join(f"{' '.join(name.split())}\t{fault}\n" for name, fault in skipped),
    )
    if len(skipped) == len(items):
        name, fault = skipped[0]
        raise ValueError(f"all {len(items)} images were skipped; the first: {name}: {fault}")
    side = run.size // tokenizer.factor
    settings = TokenSettings(
        codebook_size=tokenizer.codebook_size,
        grid=(side, side),
        image_size=run.size,
        tokenizer=_with_absolute_path(run.tokenizer),
        tokenizer_hash=tokenizer.hash(),
        class_names=run.source.class_names,
        source=f"{run.source.kind} {run.source.place}",
        skipped=len(skipped),
    )
    kept = [item for item, fault in zip(items, faults, strict=True) if not fault]
    captions = [item.captions for item in kept] if run.source.captioned else None
    rows = (_shard_rows(run, start) for start in starts)
    TokenData.write(run.folder, settings, len(kept), rows, captions)


def _with_absolute_path(tokenizer: str) -> str:
    kind, colon, path = tokenizer.partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon else kind


def _encoded_rows(
    batch: Sequence[Item], decoded: Decoded, tokenizer: Tokenizer
) -> npt.NDArray[np.int32]:
    """Encode the n usable images of a batch to rows [2n, 1 + L], each before its mirror image."""
    labels = [i.label or 0 for i, fault in zip(batch, decoded.faults, strict=True) if not fault]
    if not labels:
        side = decoded.pixels.shape[1] // tokenizer.factor
        return np.empty((0, 1 + side * side), np.int32)
    images = to_floats(decoded.pixels, device())
    both = torch.stack([images, images.flip(3)], dim=1).flatten(0, 1)
    with torch.inference_mode():
        tokens = tokenizer.encode(both).flatten(1).cpu().numpy()
    classes = np.repeat(labels, 2)[:, None]
    return np.concatenate([classes, tokens], axis=1).astype(np.int32)


def _shard_path(run: Tokenizing, start: int) -> Path:
    return run.folder / SHARDS / f"{start:09d}.npz"


def _write_shard(
    run: Tokenizing, start: int, rows: npt.NDArray[np.int32], faults: list[str]
) -> None:
    with write_whole(_shard_path(run, start)) as partial, partial.open("wb") as file:
        np.savez(file, rows=rows, faults=np.array(faults, dtype=np.str_))


def _shard_faults(run: Tokenizing, start: int) -> list[str] | None:
    """Return the faults of a shard's images; None if the shard is missing or damaged."""
    found = _shard_array(run, start, "faults")
    return None if found is None else [str(fault) for fault in found]


def _shard_rows(run: Tokenizing, start: int) -> npt.NDArray[np.int32]:
    found = _shard_array(run, start, "rows")
    if found is None:
        path = _shard_path(run, start)
        raise ValueError(f"{path}: cannot be read; delete it and run the command again")
    return found


def _shard_array(run: Tokenizing, start: int, name: str) -> npt.NDArray[Any] | None:
    try:
        with np.load(_shard_path(run, start), allow_pickle=False) as file:
            found: npt.NDArray[Any] = file[name]
            return found
    except MemoryError:
        raise
    except Exception:  # of any type, because the parsers of zip and .npy raise many
        return None
