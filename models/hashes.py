"""Names for numbers: of computed ones, equal on machines that differ in their last digits; of
weights, equal only for equal bits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

DECIMALS = 6


def numbers_hash(*tensors: Tensor) -> str:
    """SHA-256 of the numbers, rounded to 6 decimals, and their shapes.

    Sums and eigenvectors differ in the last digits from one machine, or number of threads, to
    another; rounded, the same data have the same hash.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        # The added 0 turns -0 into 0.
        rounded = torch.round(tensor.double().cpu(), decimals=DECIMALS) + 0.0
        digest.update(f"{tuple(rounded.shape)}".encode())
        digest.update(rounded.contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of float tensors with their names and shapes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"
