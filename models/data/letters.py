"""Pictures of letters and digits of many fonts, and their tokens: small patches of grey.

`benchmarks.render_letters` makes the file of pictures.
N: pictures, K: codes, P: pixels of a patch, L: tokens of a picture.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as nn_functional

from models.hashes import numbers_hash
from models.regular_files import not_a_file
from models.tokenizers.codebook import nearest

CHARACTERS = string.ascii_uppercase + string.digits
"""The character of each class."""
SIDE = 32
"""The side of a picture in pixels."""
FACTOR = 2
"""The side of a patch in pixels."""
CODES = 48
FITTED = 200_000
"""The number of patches to which codes are fitted."""
MAKER = "python -m benchmarks.render_letters of autonat's repository"
"""What makes a file of pictures, for lines that ask for one."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of letters, white on black.

    Attributes:
        images: [N, side, side] float32 in [0, 1].
        classes: [N] int64, the places of their characters in CHARACTERS.
    """

    images: Tensor
    classes: Tensor

    def scaled(self, side: int) -> Pictures:
        """The pictures averaged to side x side pixels."""
        return Pictures(nn_functional.adaptive_avg_pool2d(self.images, side), self.classes)

    def hash(self) -> str:
        """Return the SHA-256 of images and classes."""
        return numbers_hash(self.images, self.classes)


def read_pictures(path: str | Path) -> Pictures:
    """Read a file that `benchmarks.render_letters` wrote.

    Raises:
        ValueError: the file does not exist, or does not hold pictures of every character.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = file["x"], file["y"]
    except MemoryError:
        raise
    except Exception:  # of any type, because the parsers of zip, .npy and its header raise many
        raise ValueError(f"{path}: not a file of pictures, such as {MAKER} makes") from None
    if x.ndim != 3 or x.shape[1:] != (SIDE, SIDE) or x.dtype != np.uint8 or y.shape != x.shape[:1]:
        raise ValueError(
            f"{path}: expected x of uint8 (N, {SIDE}, {SIDE}) and y of (N,), got {x.dtype} "
            f"{x.shape} and {y.shape}"
        )
    counted = y.dtype.kind in "iu" and [(y == label).sum() for label in range(len(CHARACTERS))]
    if not counted or sum(counted) < len(y) or min(counted) < 2:
        raise ValueError(
            f"{path}: expected two or more pictures of each class from 0 to {len(CHARACTERS) - 1}"
        )
    return Pictures(torch.from_numpy(x).float() / 255, torch.from_numpy(y.astype(np.int64)))


def fit_codes(images: Tensor) -> Tensor:
    """Fit the codes to pictures by k-means.

    Args:
        images: [N, H, W] in [0, 1].

    Returns:
        The codes [K, P] in [0, 1], from dark to bright.
    """
    from sklearn.cluster import KMeans  # takes half a second to import

    patches = _patches(images)
    random = torch.Generator().manual_seed(0)
    some = patches[torch.randperm(len(patches), generator=random)[:FITTED]]
    # The last digits of the distances depend on the number of threads.
    with threadpool_limits(1):
        means = (
            KMeans(CODES, random_state=0, n_init=1)
            .fit(np.unique(some.numpy(), axis=0))
            .cluster_centers_
        )
    codes = torch.from_numpy(means).float().clamp(0, 1)
    return codes[codes.sum(1).argsort()].contiguous()


def encode(images: Tensor, codes: Tensor) -> Tensor:
    """Encode pictures [N, H, W] with codes [K, P]: tokens [N, L] int64, row by row."""
    return nearest(_patches(images), codes).view(len(images), -1)


def decode(tokens: Tensor, codes: Tensor, rows: int) -> Tensor:
    """Decode tokens [N, L], `rows` rows of them a picture, to pictures [N, H, W]."""
    patches = codes[tokens]
    return rearrange(patches, "b (h w) (y x) -> b (h y) (w x)", h=rows, y=FACTOR)


def _patches(images: Tensor) -> Tensor:
    """Cut pictures [N, H, W] into patches [N L, P]."""
    return rearrange(images, "b (h y) (w x) -> (b h w) (y x)", y=FACTOR, x=FACTOR)
