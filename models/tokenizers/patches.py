"""A tokenizer that needs no download: patches of pixels, quantised by k-means on the user's images.

P: numbers of a patch, factor x factor x 3; other letters as in models.tokenizers.tokenizer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from einops import rearrange
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from models.hashes import tensors_hash
from models.saving import save_tensors
from models.tensor_file import read_tensors
from models.tokenizers.codebook import check_images, nearest

if TYPE_CHECKING:
    from sklearn.cluster import MiniBatchKMeans

FORMAT = "autonat-patches/1"
POOL = 10
"""The number of distinct patches per code with which k-means begins; fewer give worse codes."""


class PatchTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer) whose codes are patches of pixels.

    Args:
        patches: the codes, [K, P] in [0, 1].
        factor: the side of a patch in pixels.
        seed: the seed with which the patches were fitted; only recorded.
    """

    patches: Tensor

    def __init__(self, patches: Tensor, factor: int, seed: int | None = None) -> None:
        super().__init__()
        self.register_buffer("patches", patches.float().contiguous())
        self.factor, self.codebook_size, self.seed = factor, len(patches), seed

    @classmethod
    def fit(cls, batches: Iterable[Tensor], factor: int, codebook_size: int, seed: int) -> Self:
        """Fit codes by mini-batch k-means to all patches of the images, in one pass.

        Args:
            batches: images [B, 3, H, W] in [0, 1]; the codes depend on their order, so they should
                be shuffled.
            factor: the side of a patch in pixels, >= 1; the sides of images are multiples of it.
            codebook_size: K >= 1.
            seed: the seed of k-means.

        Raises:
            ValueError: a value is out of range, or there are fewer distinct patches than codes.
        """
        for name, value in (("factor", factor), ("codebook_size", codebook_size)):
            if value < 1:
                raise ValueError(f"{name} = {value} is not positive")
        means: MiniBatchKMeans | None = None
        pool: Counter[bytes] = Counter()
        for images in batches:
            check_images(images, factor)
            patches = _patches_of(images.float().cpu(), factor).numpy()
            if means is not None:
                means.partial_fit(patches)
                continue
            pool.update(patch.tobytes() for patch in patches)
            if len(pool) >= POOL * codebook_size:
                means = _first_means(pool, codebook_size, seed)
        if means is None:
            means = _first_means(pool, codebook_size, seed)
        return cls(torch.from_numpy(means.cluster_centers_).clamp(0, 1), factor, seed)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        found = nearest(_patches_of(images, self.factor), self.patches)
        return found.view(len(images), *(side // self.factor for side in images.shape[2:]))

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        return rearrange(
            self.patches[tokens], "b h w (c y x) -> b c (h y) (w x)", c=3, y=self.factor
        )

    def hash(self) -> str:
        """Return the SHA-256 of the codes."""
        return tensors_hash(self.state_dict())

    def save(self, path: Path) -> None:
        """Write the tokenizer to a file, atomically."""
        settings = {
            "format": FORMAT,
            "factor": self.factor,
            "codebook_size": self.codebook_size,
            "seed": self.seed,
        }
        save_tensors(path, {"patches": self.patches}, {"settings": json.dumps(settings)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a tokenizer from a file.

        Raises:
            ValueError: the file does not exist, or is not one that `save` wrote.
        """
        file = read_tensors(path)
        try:
            settings = json.loads(file.metadata["settings"])
            form, patches = settings["format"], file.tensors["patches"]
            factor, seed = settings["factor"], settings.get("seed")
        except (KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(f"{path}: not a patch tokenizer") from None
        if form != FORMAT:
            raise ValueError(f"{path}: format = {form!r} is unknown; known: {FORMAT!r}")
        if type(factor) is not int or patches.ndim != 2 or patches.shape[1] != 3 * factor**2:
            raise ValueError(
                f"{path}: expected codes of shape (K, 3 * factor^2) with factor = {factor!r}, got "
                f"{tuple(patches.shape)}"
            )
        return cls(patches, factor, seed)


def _first_means(pool: Counter[bytes], codebook_size: int, seed: int) -> MiniBatchKMeans:
    """Take the first step of k-means over distinct patches, weighted by how often each was seen.

    Raises:
        ValueError: there are fewer distinct patches than codes.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes half a second to import

    if len(pool) < codebook_size:
        raise ValueError(
            f"expected at least {codebook_size} distinct patches for as many codes, got {len(pool)}"
        )
    means = MiniBatchKMeans(
        codebook_size,
        random_state=seed,
        n_init=1,
        init_size=POOL * codebook_size,
        # Keeps rare codes. By default they would be replaced by random patches, mostly of the
        # background: of 64 codes for letters on white paper only 9 would be left.
        reassignment_ratio=0.0,
        compute_labels=False,
    )
    patches = np.frombuffer(b"".join(pool), np.float32).reshape(len(pool), -1)
    # The last digits of the first distances depend on the number of threads of BLAS.
    with threadpool_limits(1, user_api="blas"):
        return means.partial_fit(patches, sample_weight=np.fromiter(pool.values(), np.float32))


def _patches_of(images: Tensor, factor: int) -> Tensor:
    """Cut images [B, 3, H, W] into patches [B h w, P]."""
    return rearrange(images, "b c (h y) (w x) -> (b h w) (c y x)", y=factor, x=factor)
