"""Reads tensors from users' files, made by torch.save or safetensors, in one way for all loaders.

Other files, and numbers with which no network can compute, are refused here with the names of the
file and the tensor.
"""

from __future__ import annotations

import argparse
import logging
import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.regular_files import not_a_file
from search.reading import read_json

logger = logging.getLogger(__name__)

WEIGHTS = ("state_dict", "model_state_dict", "model", "module", "nnet", "net", "network", "params")
"""The keys under which public training code keeps its weights, in the order of preference."""

AVERAGES = ("ema", "average")
"""Words in the keys of averaged weights: "ema", "model_ema", "ema_state_dict" and so on."""
SHADOW = "shadow"
"""The key of averaged weights within those, as some average keeps them."""

UNKNOWN = (2, 0)
"""The rank of any other key."""

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that torch.compile and similar wrappers insert into names."""

SHARDS = ".index.json"
"""The end of the name of a file that says which tensor is in which of several files."""

UNUSED = ("position_ids", "n_averaged", "codebook_used")
"""Endings of the names of buffers that no network here needs; public loaders drop them, too."""

COUNTERS = "num_batches_tracked"
QUANTISED = "quantised models are not read"
UNSAFE = "it holds other objects, which are not read for safety, or is damaged"
PICKLE = b"\x80"
"""The first byte of a pickle of protocol 2 or later, in which torch.save once wrote its files."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
    multiarray.scalar,
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
]
"""Types that training scripts save beside tensors, and that run no code when they are read."""


@dataclass(frozen=True)
class TensorFile:
    """The content of a file.

    Attributes:
        tensors: the tensors by name: dense, finite, on the CPU.
        metadata: the metadata of a safetensors file.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_tensors(path: str | Path, only: tuple[str, ...] = ("",)) -> TensorFile:
    """Read the tensors of a file made by torch.save or safetensors.

    From a training checkpoint the weights are read, averaged ones (EMA) in preference to raw ones;
    if there is a choice, it is logged. The prefixes of DistributedDataParallel ("module.") and
    torch.compile ("_orig_mod.") are removed from names, and useless buffers are dropped.

    Args:
        path: the file; or the index of several files, such as model.safetensors.index.json.
        only: the beginnings of the names to read; the numbers of other tensors stay on disk.

    Raises:
        ValueError: the file is not a regular file, holds no tensors or is damaged, or a tensor is
            quantised, sparse, without content or not finite; the line names file and tensor.
    """
    found, metadata = _read_shards(Path(path)) if str(path).endswith(SHARDS) else _read_file(path)
    try:
        plain = _plain_names(found)
        tensors = {name: tensor for name, tensor in plain.items() if name.startswith(only)}
        check_tensors(tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return TensorFile({name: tensor.detach() for name, tensor in tensors.items()}, metadata)


def _read_file(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file as they are, and its metadata."""
    head = _first_bytes(path)
    if head[8:9] == b"{" and not head.startswith(b"PK"):
        return _load_safetensors(path)
    return _weights_among(path, load_torch(path)), {}


def _read_shards(index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of several files, which an index beside them names."""
    if (reason := not_a_file(index)) is not None:
        raise ValueError(f"{index}: {reason}")
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not (isinstance(places, dict) and places and all(map(_is_file_name, places.values()))):
        raise ValueError(f"{index}: expected weight_map with the name of a file for each tensor")
    tensors: dict[str, Tensor] = {}
    for name in sorted({*places.values()}):
        tensors |= _read_file(index.with_name(name))[0]
    return tensors, {}


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and Path(value).name == value and not value.endswith(SHARDS)


def _why_not_loaded(path: str | Path, head: bytes) -> str:
    if not zipfile.is_zipfile(path):
        pickled = head.startswith(PICKLE)
        return UNSAFE if pickled else "damaged or cut off"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # of any type, because a damaged archive raises many
        return UNSAFE
    arrays = all(name.endswith(".npy") for name in names)
    return "it is an .npz of NumPy arrays" if names and arrays else UNSAFE


def load_torch(path: str | Path) -> Any:
    """Load a file made by torch.save to the CPU: only tensors and plain values; no code is run.

    Raises:
        ValueError: the file is not a regular file, or was not made by torch.save.
    """
    head = _first_bytes(path)
    reason = _why_no_checkpoint(path, head)
    if reason is None:
        try:
            # Mapped, so that the state of an optimiser beside the weights is never read. torch
            # maps only zip files, and only by paths that are UTF-8.
            mapped = head.startswith(b"PK") and _is_utf8(path)
            name = str(path) if mapped else path
            with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
                return torch.load(name, map_location="cpu", weights_only=True, mmap=mapped)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        except Exception:  # of any type, because torch's parsers raise many
            reason = _why_not_loaded(path, head)
    raise ValueError(f"{path}: not a checkpoint of tensors ({reason})")


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors with which no network can compute.

    Raises:
        ValueError: a tensor has no content, or is not dense, not of floating point (except the
            counters of batch norm) or not finite; the line names it.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name} is a meta tensor: the file holds its shape but no numbers")
        if tensor.layout != torch.strided or tensor.is_nested:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise ValueError(f"{name}: expected a dense tensor, got a tensor of kind {kind}")
        if name.endswith(COUNTERS):
            continue
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{name}: expected floating-point numbers, got {kind}; {QUANTISED}")
        if not _is_finite(tensor):
            what = "NaN" if tensor.isnan().any() else "an infinity"
            raise ValueError(f"{name} holds {what}")


def _is_finite(tensor: Tensor) -> bool:
    # By the extremes, which one pass finds without a copy: eight times as fast as isfinite.
    return not tensor.numel() or all(map(math.isfinite, map(float, tensor.detach().aminmax())))


def check_types(folder: str | Path, stem: str) -> None:
    """Refuse a quantised model before a library silently turns its integers into floats.

    Args:
        folder: the folder of STEM.safetensors or its shards.
        stem: the first part of the file names.

    Raises:
        ValueError: a weight is not of floating point (the line names it), or a file is damaged.
    """
    files = [*Path(folder).glob(f"{stem}.safetensors"), *Path(folder).glob(f"{stem}-*.safetensors")]
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            raise ValueError(f"{path.name} is damaged or cut off") from None
        for name, kind in kinds.items():
            if name.endswith((".weight", ".bias")) and kind not in ("F16", "BF16", "F32", "F64"):
                raise ValueError(
                    f"{name}: expected floating-point numbers, got {kind}; {QUANTISED}"
                )


def _first_bytes(path: str | Path) -> bytes:
    if (reason := not_a_file(path)) is not None:
        hint = "; name the file of weights in it" if Path(path).is_dir() else ""
        raise ValueError(f"{path}: {reason}{hint}")
    try:
        with open(path, "rb") as file:
            return file.read(512)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None


def _is_utf8(path: str | Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _why_no_checkpoint(path: str | Path, head: bytes) -> str | None:
    """Say what a file is if its first bytes show that it is not a checkpoint; else None."""
    text = head.lstrip().lower()
    if not head:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, which the download returned in place of the file"
    if text.startswith((b"{", b"[")):
        return "it is JSON, such as a config; name the file of weights"
    if head.startswith(b"\x93NUMPY"):
        return "it is an array of NumPy"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; git lfs pull fetches the file itself"
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "cut off: its end is missing"
    return None


def _load_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not _is_utf8(path):
        raise ValueError(f"{path}: safetensors opens only paths that are UTF-8")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, RuntimeError):
        # TypeError: a tensor has a type that torch lacks
        raise ValueError(f"{path}: not a checkpoint of tensors (damaged or cut off)") from None


def _weights_among(path: str | Path, content: Any) -> dict[str, Tensor]:
    """Find the weights in what training code saved."""
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: not a state dict")
    if _is_state_dict(content):
        return dict(content)
    if "param_groups" in content and "state" in content:
        raise ValueError(f"{path}: it holds an optimiser's state, not weights")
    found = {str(key): state for key, value in content.items() if (state := _state_dict(value))}
    if any(isinstance(value, Tensor) for value in content.values()):
        found = {key: state for key, state in found.items() if _rank(key) != UNKNOWN}
    if not found and any(isinstance(value, Tensor) for value in content.values()):
        wrong = next(name for name, value in content.items() if not isinstance(value, Tensor))
        raise ValueError(f"{path}: not a state dict ({wrong!r} is not a tensor)")
    ranked = sorted(found, key=_rank)
    if not ranked or (len(ranked) > 1 and _rank(ranked[0]) == UNKNOWN):
        held = ", ".join(map(str, [*content][:6]))
        raise ValueError(
            f"{path}: expected weights under one of {', '.join(WEIGHTS)}, or one of these with "
            f"ema, got {held}"
        )
    chosen, *others = ranked
    if others:
        rest = ", ".join(map(repr, others))
        logger.warning("%s: uses the weights under %r, not those under %s", path, chosen, rest)
    averaged = [key for key, value in content.items() if _is_average(key) and _has_tensors(value)]
    if unread := ", ".join(repr(key) for key in averaged if key not in found):
        logger.warning(
            "%s: uses the weights under %r; the averaged ones under %s have no names that are read",
            *(path, chosen, unread),
        )
    return found[chosen]


def _rank(key: str) -> tuple[int, int]:
    """Return the rank of a key: averaged weights before raw ones, each in the order of WEIGHTS."""
    words = key.lower().split("_")
    rest = "_".join(word for word in words if word not in AVERAGES)
    known = ("", *WEIGHTS)
    return (int(rest == key.lower()), known.index(rest)) if rest in known else UNKNOWN


def _is_average(key: object) -> bool:
    return not set(AVERAGES).isdisjoint(str(key).lower().split("_"))


def _has_tensors(value: Any) -> bool:
    """Whether a value is a tensor of one or more dimensions, or contains one at any depth."""
    if isinstance(value, Mapping | list | tuple):
        return any(map(_has_tensors, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, Tensor) and value.ndim > 0


def _state_dict(value: Any) -> dict[str, Tensor] | None:
    """Return the state dict that a value is or contains; None if there is none."""
    if not isinstance(value, Mapping):
        return None
    if not _is_state_dict(value):
        value = next((value[key] for key in (*WEIGHTS, SHADOW) if key in value), None)
    return dict(value) if _is_state_dict(value) else None


def _is_state_dict(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in value.items())
    )


def _plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove wrappers' prefixes from names, and drop useless buffers."""
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if plain in kept:
            raise ValueError(f"{name} and {plain} are the same tensor")
        if name.rpartition(".")[2] not in UNUSED:
            kept[plain] = tensor
    while kept and all(name.startswith("module.") for name in kept):
        kept = {name.removeprefix("module."): tensor for name, tensor in kept.items()}
    if not kept:
        raise ValueError("not a state dict")
    return kept
