"""Features of images by name: those of Inception, or whitened pixels, which need no download.

B: images, F: features.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch.nn.functional as nn_functional
from torch import Tensor

from models.features.features import Features, whitening
from models.features.inception import FEATURES as INCEPTION_FEATURES
from models.features.inception import load_inception
from models.features.inception_inputs import (
    clean_fid_inputs,
    pytorch_fid_inputs,
    tensorflow_inputs,
)
from models.hashes import tensors_hash
from models.metrics.frechet import Sums
from models.saving import save_tensors
from models.tensor_file import read_tensors
from search.plugins import Registry

PIXELS_FORMAT = "autonat-pixels/1"
RESIZES = {
    "inception": "bilinear to 299 x 299, no antialiasing",
    "inception-bicubic": "clean-fid's bicubic to 299 x 299, then cut to 8 bits",
    "inception-adm": "cut to 8 bits, then TensorFlow 1's bilinear to 299 x 299",
    "pixels": "areas' means",
}
"""How images are resized, in words for the protocol, by the kind of features."""

INPUTS = {
    "inception": pytorch_fid_inputs,
    "inception-bicubic": clean_fid_inputs,
    "inception-adm": tensorflow_inputs,
}


class InceptionFeatures(Features):
    """The 2,048 pooled features of the Inception network of 2015.

    Args:
        path: the path of pytorch-fid's or torch-fidelity's file.
        kind: how images are resized: "inception", "inception-bicubic" or "inception-adm".
    """

    def __init__(self, path: str | Path, kind: str = "inception") -> None:
        super().__init__()
        self.kind = kind
        self.network = load_inception(path, INPUTS[kind])
        self.num_features = INCEPTION_FEATURES
        self.description = "Inception 2015, pool3, 2048"

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] in [0, 1] to features [B, 2048]."""
        return self.network(images)  # type: ignore[no-any-return]

    def hash(self) -> str:
        """Return the SHA-256 of the weights, and of the resizing if it is not pytorch-fid's."""
        weights = tensors_hash(self.network.state_dict())
        if self.kind == "inception":
            return weights
        return f"sha256:{hashlib.sha256(f'{weights} {self.kind}'.encode()).hexdigest()}"


class PixelFeatures(Features):
    """Whitened pixels of images scaled down, for tests and for data unlike Inception's.

    Args:
        mean: the mean of the real images, scaled down; [F].
        matrix: the matrix that whitens them; [F, F].
        side: the side of the scaled-down images in pixels; F = 3 side^2.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor, side: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)
        self.side, self.num_features = side, len(mean)
        self.description = f"whitened pixels of {side} x {side}"

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] in [0, 1] to features [B, F], float64."""
        return (_scaled_down(images, self.side) - self.mean) @ self.matrix

    def hash(self) -> str:
        """Return the SHA-256 of mean and matrix, as float32."""
        return tensors_hash(self.state_dict())

    def save(self, path: Path) -> None:
        """Write the features to a file, atomically."""
        settings = {"format": PIXELS_FORMAT, "side": self.side}
        tensors = {"mean": self.mean, "matrix": self.matrix}
        save_tensors(path, tensors, {"settings": json.dumps(settings)})


def pixel_width(side: int) -> int:
    """Return F for images scaled down to that side, with three colours."""
    return 3 * side**2


def fit_pixels(batches: Iterable[Tensor], side: int) -> PixelFeatures:
    """Fit pixel features to batches of real images [B, 3, H, W] in [0, 1].

    Args:
        batches: the images.
        side: the side in pixels to which images are scaled down.

    Raises:
        ValueError: there are fewer than two images, or the side is not positive.
    """
    if side < 1:
        raise ValueError(f"side = {side} is not positive")
    sums: Sums | None = None
    for images in batches:
        more = Sums.of(_scaled_down(images, side))
        sums = more if sums is None else sums + more
    if sums is None:
        raise ValueError("expected images to fit pixel features to, got none")
    statistics = sums.statistics()
    return PixelFeatures(statistics.mean, whitening(statistics.covariance), side)


FEATURES: Registry[Callable[[str], Features]] = Registry(
    "features",
    {
        "inception": "models.features.image_features:InceptionFeatures",
        "inception-bicubic": functools.partial(InceptionFeatures, kind="inception-bicubic"),
        "inception-adm": functools.partial(InceptionFeatures, kind="inception-adm"),
        "pixels": "models.features.image_features:load_pixels",
    },
    argument=":PATH",
)
"""The functions that make each kind of features from a path."""


def load_features(name: str) -> Features:
    """Load features by name.

    Args:
        name: inception:PATH (pytorch-fid's file, and its protocol), inception-bicubic:PATH (the
            protocol of Halton-MaskGIT), inception-adm:PATH (that of ADM's evaluator), pixels:PATH
            (see `fit_pixels`), or a kind that a package registered.

    Raises:
        ValueError: the kind is unknown, or the file is not of this kind.
    """
    _, load, path = FEATURES.load_with_argument(name)
    return load(path)


def parse_features(name: str) -> tuple[str, str]:
    """Split the name of features into kind and path.

    Raises:
        ValueError: the kind is unknown, or there is no path.
    """
    kind, _, path = FEATURES.load_with_argument(name)
    return kind, path


def load_pixels(path: str) -> PixelFeatures:
    """Load pixel features that `PixelFeatures.save` wrote.

    Raises:
        ValueError: the file is not such a file.
    """
    file = read_tensors(path)
    try:
        side = json.loads(file.metadata["settings"])["side"]
        mean, matrix = file.tensors["mean"], file.tensors["matrix"]
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{path}: not pixel features") from None
    width = pixel_width(side) if type(side) is int else 0
    if mean.shape != (width,) or matrix.shape != 2 * mean.shape:
        raise ValueError(f"{path}: not pixel features with side = {side!r}")
    return PixelFeatures(mean, matrix, side)


def quantised(images: Tensor) -> Tensor:
    """Round pixels in [0, 1] to the 256 levels of image files."""
    return (images * 255).round() / 255


def _scaled_down(images: Tensor, side: int) -> Tensor:
    """Scale images [B, 3, H, W] down and flatten them to [B, 3 side^2], float64."""
    return nn_functional.adaptive_avg_pool2d(images.double(), side).flatten(1)
