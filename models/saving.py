"""Writes tensors to files, whole or not at all; every fault of the disk is an OSError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from search.files import write_whole


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file.

    Args:
        path: of the file; its folder must exist.
        tensors: by name.
        metadata: texts by name.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    plain = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    with write_whole(path) as partial:
        try:
            save_file(plain, partial, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values as torch saves them, for `models.tensor_file.load_torch`.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    with write_whole(path) as partial:
        try:
            torch.save(dict(state), partial)
        except RuntimeError as error:
            reason, *_ = str(error).split("\n")  # the rest is a trace of calls
            raise OSError(f"{path}: {reason}") from None
