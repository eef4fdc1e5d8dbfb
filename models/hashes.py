"""Hashes of tensors: of computed numbers, ignoring rounding, and of weights, exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

DECIMALS = 6


def numbers_hash(*tensors: Tensor) -> str:
    """Return the SHA-256 of numbers, rounded to 6 decimals, and of their shapes.

    The last digits of sums and eigenvectors depend on the machine and the number of threads. Thanks
    to the rounding, the same data have the same hash everywhere.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        # The added 0 turns -0 into 0.
        rounded = torch.round(tensor.double().cpu(), decimals=DECIMALS) + 0.0
        digest.update(f"{tuple(rounded.shape)}".encode())
        digest.update(rounded.contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of float tensors with their names and shapes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"
