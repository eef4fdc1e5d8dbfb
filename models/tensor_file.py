"""Tensors from files that people have: torch.save's and safetensors, read one way by all loaders.

What is no such file, and numbers that no network can be made of, are refused here, by the file and
the tensor.
"""

from __future__ import annotations

import argparse
import logging
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

logger = logging.getLogger(__name__)

WEIGHTS = ("state_dict", "model_state_dict", "model", "module", "nnet", "net", "network", "params")
"""Where public training code keeps its weights, in the order in which they are looked for."""

AVERAGES = ("ema", "average")
"""Words in the key of averaged weights: "ema", "model_ema", "ema_state_dict" and so on."""

UNKNOWN = (2, 0)
"""The rank of a key that is none of these."""

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile and its kin put into names, at any place."""

UNUSED = ("position_ids", "n_averaged")
"""Buffers that no network of ours needs, by the end of their names; public loaders drop them."""

COUNTERS = "num_batches_tracked"
QUANTISED = "quantised models are not read"
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
"""What training scripts save beside tensors, and what runs no code when it is read."""


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    Attributes:
        tensors: by name, dense, finite, on the CPU.
        metadata: of a safetensors file.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_tensors(path: str | Path) -> TensorFile:
    """The tensors of a file of torch.save or safetensors.

    Of a training checkpoint the weights are taken, averaged ones (EMA) before raw ones; where
    there was a choice, it is logged. Names lose what DistributedDataParallel ("module.") and
    torch.compile ("_orig_mod.") put before them, and buffers of no use are dropped.

    Raises:
        ValueError: no regular file, not one of tensors, damaged, or a tensor that is quantised,
            sparse, without content, or not finite; one line by file and tensor.
    """
    head = _head(path)
    if head[8:9] == b"{" and not head.startswith(b"PK"):
        found, metadata = _load_safetensors(path)
    else:
        found, metadata = _chosen(path, load_torch(path)), {}
    try:
        tensors = _plain_names(found)
        check_tensors(tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return TensorFile({name: tensor.detach() for name, tensor in tensors.items()}, metadata)


def load_torch(path: str | Path) -> Any:
    """What torch.save wrote, on the CPU; only tensors and plain values, no code is run.

    Raises:
        ValueError: no regular file, or not one of torch.save's.
    """
    head = _head(path)
    reason = _not_saved(path, head)
    if reason is None:
        try:
            with torch.serialization.safe_globals(HARMLESS):
                return torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        except Exception:  # of any type: whatever torch's parsers stumble over
            whole = head.startswith(b"PK") and zipfile.is_zipfile(path)
            reason = (
                "it holds other objects, which are not read, or is damaged"
                if whole
                else "damaged or cut off"
            )
    raise ValueError(f"{path}: not a checkpoint of tensors ({reason})")


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Refuse what no network can be made of.

    Raises:
        ValueError: a tensor without content, not dense, not of floating point (but for batch
            norm's counters), or not finite; it is named.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name} is a meta tensor: the file holds its shape and no numbers")
        if tensor.layout != torch.strided or tensor.is_nested:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise ValueError(f"{name} is {kind}, not a dense tensor")
        if name.endswith(COUNTERS):
            continue
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{name} is {kind}, not of floating point; {QUANTISED}")
        if not tensor.isfinite().all():
            what = "NaN" if tensor.isnan().any() else "an infinity"
            raise ValueError(f"{name} holds {what}")


def check_types(folder: str | Path, stem: str) -> None:
    """Refuse a quantised model before a library turns its integers into floats without a word.

    Args:
        folder: where STEM.safetensors lies, or its shards.
        stem: as the library has it.

    Raises:
        ValueError: a weight that is not of floating point, or a file that is none; both are named.
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
                raise ValueError(f"{name} is {kind}, not of floating point; {QUANTISED}")


def _head(path: str | Path) -> bytes:
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    try:
        with open(path, "rb") as file:
            return file.read(512)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None


def _not_saved(path: str | Path, head: bytes) -> str | None:
    """What a file is that somebody took for a checkpoint, where its beginning tells."""
    text = head.lstrip().lower()
    if not head:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: the download was answered by one"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; git lfs pull fetches the file itself"
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "cut off: its end is missing"
    return None


def _load_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path}: the path is not UTF-8, and safetensors opens no other") from None
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, RuntimeError):
        # TypeError: of a type that torch does not have
        raise ValueError(f"{path}: not a checkpoint of tensors (damaged or cut off)") from None


def _chosen(path: str | Path, content: Any) -> dict[str, Tensor]:
    """The weights among what training code saved."""
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: not a state dict")
    if _is_state_dict(content):
        return dict(content)
    if "param_groups" in content and "state" in content:
        raise ValueError(f"{path}: it holds an optimiser's state, not weights")
    if any(isinstance(value, Tensor) for value in content.values()):
        wrong = next(name for name, value in content.items() if not isinstance(value, Tensor))
        raise ValueError(f"{path}: not a state dict ({wrong!r} is no tensor)")
    found = {str(key): state for key, value in content.items() if (state := _state_dict(value))}
    ranked = sorted(found, key=_rank)
    if not ranked or (len(ranked) > 1 and _rank(ranked[0]) == UNKNOWN):
        held = ", ".join(map(str, [*content][:6]))
        raise ValueError(
            f"{path}: it holds {held}; weights are looked for under {', '.join(WEIGHTS)}, "
            "or one of these with ema"
        )
    taken, *others = ranked
    if others:
        rest = ", ".join(map(repr, others))
        logger.warning("%s: the weights under %r are taken, not those under %s", path, taken, rest)
    return found[taken]


def _rank(key: str) -> tuple[int, int]:
    """Averaged weights before raw ones, each in the order of WEIGHTS."""
    words = key.lower().split("_")
    rest = "_".join(word for word in words if word not in AVERAGES)
    known = ("", *WEIGHTS)
    return (int(rest == key.lower()), known.index(rest)) if rest in known else UNKNOWN


def _state_dict(value: Any) -> dict[str, Tensor] | None:
    """The state dict that a value is, or wraps once more."""
    if not isinstance(value, Mapping):
        return None
    if not _is_state_dict(value):
        value = next((value[key] for key in WEIGHTS if key in value), None)
    return dict(value) if _is_state_dict(value) else None


def _is_state_dict(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in value.items())
    )


def _plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names that the network itself gives them, without buffers of no use."""
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
