"""Real images' features in a file beside their statistics, for metrics that need them.

NAME.npz has them in NAME.features.safetensors, which says what statistics it belongs to.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.metrics.frechet import Statistics
from models.tensor_file import read_tensors
from search.files import write_whole

FORMAT = "autonat-features/1"


class Sample:
    """At most so many of features that come in batches, each as likely as any other.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._random = torch.Generator().manual_seed(0)
        self._places = torch.empty(0, dtype=torch.float64)
        self._kept: Tensor | None = None

    def add(self, features: Tensor) -> None:
        """More of them, [B, F]."""
        if not self._most:
            return
        more = torch.rand(len(features), generator=self._random, dtype=torch.float64)
        found = features.float().cpu()
        places = torch.cat([self._places, more])
        kept = found if self._kept is None else torch.cat([self._kept, found])
        # In the order in which they came.
        first = places.argsort()[: self._most].sort().values
        self._places, self._kept = places[first], kept[first]

    def features(self) -> Tensor | None:
        """Those that were kept, [N, F] float32; None where there were none."""
        return self._kept


def features_file(reference: Path) -> Path:
    """Where the features beside a file of statistics lie."""
    return reference.with_suffix(".features.safetensors")


def write_features(reference: Path, features: Tensor, statistics: Statistics) -> None:
    """Write features [N, F] beside a file of statistics, whole or not at all."""
    told = {"format": FORMAT, "statistics": statistics.hash()}
    with write_whole(features_file(reference)) as partial:
        save_file({"features": features.contiguous()}, partial, metadata=told)


def read_features(reference: Path, statistics: Statistics) -> Tensor:
    """The features [N, F] that lie beside a file with these statistics.

    Raises:
        ValueError: there are none, or not of these statistics' images.
    """
    path = features_file(reference)
    if not path.exists():
        raise ValueError(
            f"{reference}: the metric needs features of the real images, and {path.name} does not "
            "lie beside it; make both with autonat statistics --keep-features N"
        )
    file = read_tensors(path)
    features = file.tensors.get("features")
    if file.metadata.get("format") != FORMAT or features is None:
        raise ValueError(f"{path}: not a file of features")
    if features.ndim != 2 or len(features) < 2 or features.shape[1] != len(statistics.mean):
        raise ValueError(
            f"{path}: features of the shape {tuple(features.shape)}, expected "
            f"(2 or more, {len(statistics.mean)})"
        )
    if file.metadata.get("statistics") != statistics.hash():
        raise ValueError(f"{path}: not of the images that {reference} is of")
    if not features.isfinite().all():
        raise ValueError(f"{path}: features that are not finite")
    return features
