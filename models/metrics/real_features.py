"""A file with the features of real images beside their statistics, for metrics that need them.

The features of NAME.npz are in NAME.features.safetensors, which holds the hash of the statistics
that it belongs to.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.metrics.frechet import Statistics
from models.saving import save_tensors
from models.tensor_file import read_tensors

FORMAT = "autonat-features/1"


class Sample:
    """A uniform random sample of features that come in batches.

    Args:
        most: the largest size of the sample.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._random = torch.Generator().manual_seed(0)
        self._places: list[Tensor] = []
        self._kept: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Add a batch of features [B, F]."""
        if not self._most:
            return
        more = torch.rand(len(features), generator=self._random, dtype=torch.float64)
        self._places.append(more)
        self._kept.append(features.float().cpu())
        if sum(map(len, self._kept)) > 2 * self._most:  # each time would copy all for every batch
            self._prune()

    def features(self) -> Tensor | None:
        """Return the sample, [N, F] float32; None if there were no features."""
        if not self._kept:
            return None
        self._prune()
        return self._kept[0]

    def _prune(self) -> None:
        places, kept = torch.cat(self._places), torch.cat(self._kept)
        # Sorted, so that the sample keeps the order of arrival.
        first = places.argsort()[: self._most].sort().values
        self._places, self._kept = [places[first]], [kept[first]]


def features_file(reference: Path) -> Path:
    """Return the path of the features that belong to a file of statistics."""
    return reference.with_suffix(".features.safetensors")


def write_features(reference: Path, features: Tensor, statistics: Statistics) -> None:
    """Write features [N, F] beside a file of statistics, atomically."""
    metadata = {"format": FORMAT, "statistics": statistics.hash()}
    save_tensors(features_file(reference), {"features": features}, metadata)


def read_features(reference: Path, statistics: Statistics) -> Tensor:
    """Read the features [N, F] beside a file with these statistics.

    Raises:
        ValueError: there are no features, or they belong to other images.
    """
    path = features_file(reference)
    if not path.exists():
        raise ValueError(
            f"{reference}: the metric needs features of the real images, but there is no "
            f"{path.name} beside it; make both with autonat statistics --keep-features N"
        )
    file = read_tensors(path)
    features = file.tensors.get("features")
    if file.metadata.get("format") != FORMAT or features is None:
        raise ValueError(f"{path}: not a file of features")
    if features.ndim != 2 or len(features) < 2 or features.shape[1] != len(statistics.mean):
        raise ValueError(
            f"{path}: expected features of shape (2 or more, {len(statistics.mean)}), got "
            f"{tuple(features.shape)}"
        )
    if file.metadata.get("statistics") != statistics.hash():
        raise ValueError(f"{path}: the features are not those of the images of {reference}")
    if not features.isfinite().all():
        raise ValueError(f"{path}: the features are not all finite")
    return features
