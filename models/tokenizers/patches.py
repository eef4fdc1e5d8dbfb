"""A tokenizer that needs no download: patches of pixels, quantised by k-means of one's own images.

P: values of a patch, factor x factor x 3; the rest as in models.tokenizers.tokenizer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from einops import rearrange
from safetensors.torch import save_file
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from models.hashes import tensors_hash
from models.tensor_file import read_tensors
from models.tokenizers.codebook import check_images, nearest
from search.files import write_whole

FORMAT = "autonat-patches/1"
POOL = 10
"""Distinct patches a code that k-means begins with; with fewer the codes are worse."""


class PatchTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers.tokenizer); a code is a patch.

    Args:
        patches: [K, P] in [0, 1].
        factor: pixels a side of a patch.
        seed: that the patches were fitted with, for the record.
    """

    patches: Tensor

    def __init__(self, patches: Tensor, factor: int, seed: int | None = None) -> None:
        super().__init__()
        self.register_buffer("patches", patches.float().contiguous())
        self.factor, self.codebook_size, self.seed = factor, len(patches), seed

    @classmethod
    def fit(cls, batches: Iterable[Tensor], factor: int, codebook_size: int, seed: int) -> Self:
        """Codes by mini-batch k-means over all patches of the images, in one pass.

        Args:
            batches: images [B, 3, H, W] in [0, 1]; what it yields decides the codes, so it
                should be shuffled.
            factor: pixels a side of a patch, >= 1; the images' sides are multiples.
            codebook_size: K >= 1.
            seed: of k-means.

        Raises:
            ValueError: a value outside its range, or fewer distinct patches than codes.
        """
        for name, value in (("factor", factor), ("codebook_size", codebook_size)):
            if value < 1:
                raise ValueError(f"{name} = {value} is not positive")
        means: MiniBatchKMeans | None = None
        pool: Counter[bytes] = Counter()
        for images in batches:
            check_images(images, factor)
            patches = _patches(images.float().cpu(), factor).numpy()
            if means is not None:
                means.partial_fit(patches)
                continue
            pool.update(patch.tobytes() for patch in patches)
            if len(pool) >= POOL * codebook_size:
                means = _begin(pool, codebook_size, seed)
        if means is None:
            means = _begin(pool, codebook_size, seed)
        return cls(torch.from_numpy(means.cluster_centers_).clamp(0, 1), factor, seed)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        check_images(images, self.factor)
        found = nearest(_patches(images, self.factor), self.patches)
        return found.view(len(images), *(side // self.factor for side in images.shape[2:]))

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        return rearrange(
            self.patches[tokens], "b h w (c y x) -> b c (h y) (w x)", c=3, y=self.factor
        )

    def hash(self) -> str:
        """SHA-256 of the codes."""
        return tensors_hash(self.state_dict())

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        told = {
            "format": FORMAT,
            "factor": self.factor,
            "codebook_size": self.codebook_size,
            "seed": self.seed,
        }
        with write_whole(path) as partial:
            save_file({"patches": self.patches}, partial, metadata={"settings": json.dumps(told)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read it.

        Raises:
            ValueError: no such file, or not one that `save` wrote.
        """
        file = read_tensors(path)
        try:
            told = json.loads(file.metadata["settings"])
            form, patches = told["format"], file.tensors["patches"]
            factor, seed = told["factor"], told.get("seed")
        except (KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(f"{path}: not a patch tokenizer") from None
        if form != FORMAT:
            raise ValueError(f"{path}: format = {form!r} is not {FORMAT!r}")
        if type(factor) is not int or patches.ndim != 2 or patches.shape[1] != 3 * factor**2:
            raise ValueError(f"{path}: codes {tuple(patches.shape)} are not patches of {factor!r}")
        return cls(patches, factor, seed)


def _begin(pool: Counter[bytes], codebook_size: int, seed: int) -> MiniBatchKMeans:
    """The first step of k-means, over distinct patches and how often each was seen.

    Raises:
        ValueError: fewer of them than codes.
    """
    if len(pool) < codebook_size:
        raise ValueError(f"{len(pool)} distinct patches are too few for {codebook_size} codes")
    means = MiniBatchKMeans(
        codebook_size,
        random_state=seed,
        n_init=1,
        init_size=POOL * codebook_size,
        # A rare code stays. Given to a random patch, by default, it would go to the background:
        # of 64 codes of letters on white paper 9 would be left.
        reassignment_ratio=0.0,
        compute_labels=False,
    )
    patches = np.frombuffer(b"".join(pool), np.float32).reshape(len(pool), -1)
    # The last digits of its first distances depend on BLAS's number of threads.
    with threadpool_limits(1, user_api="blas"):
        return means.partial_fit(patches, sample_weight=np.fromiter(pool.values(), np.float32))


def _patches(images: Tensor, factor: int) -> Tensor:
    """[B, 3, H, W] to [B h w, P]."""
    return rearrange(images, "b c (h y) (w x) -> (b h w) (c y x)", y=factor, x=factor)
