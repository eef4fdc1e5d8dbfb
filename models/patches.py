"""A tokenizer that needs no download: patches of pixels, quantised by k-means of one's own images.

P: values of a patch, factor x factor x 3; the rest as in models.tokenizers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from models.codebook import nearest
from models.hashes import tensors_hash

FORMAT = "autonat-patches/1"
BATCH = 4096
"""Patches of a step of k-means, at least."""


class PatchTokenizer(nn.Module):
    """A tokenizer (see models.tokenizers); a code is a patch.

    Args:
        patches: [K, P] in [0, 1].
        factor: pixels a side of a patch.
    """

    patches: Tensor

    def __init__(self, patches: Tensor, factor: int) -> None:
        super().__init__()
        self.register_buffer("patches", patches.float().contiguous())
        self.factor, self.codebook_size = factor, len(patches)

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
        least = max(BATCH, 4 * codebook_size)
        means = MiniBatchKMeans(codebook_size, random_state=seed, n_init=1, batch_size=least)
        held: list[Tensor] = []
        fitted = False
        for images in batches:
            held.append(_patches(images, factor))
            if sum(map(len, held)) >= least:
                means.partial_fit(torch.cat(held).numpy())
                held, fitted = [], True
        if not fitted:  # the rest of a long stream adds nothing
            few = torch.cat(held) if held else torch.zeros(0, 1)
            distinct = len(torch.unique(few, dim=0))
            if distinct < codebook_size:
                raise ValueError(
                    f"{distinct} distinct patches are too few for {codebook_size} codes"
                )
            means.partial_fit(few.numpy())
        return cls(torch.from_numpy(means.cluster_centers_).clamp(0, 1), factor)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        rows = images.shape[2] // self.factor
        found = nearest(_patches(images, self.factor), self.patches)
        return found.view(len(images), rows, -1)

    @torch.inference_mode()
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
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        told = {"format": FORMAT, "factor": self.factor}
        save_file({"patches": self.patches}, partial, metadata={"settings": json.dumps(told)})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read it.

        Raises:
            ValueError: no such file, or not one that `save` wrote.
        """
        try:
            with safe_open(path, framework="pt") as file:
                told = json.loads((file.metadata() or {})["settings"])
                patches, factor = file.get_tensor("patches"), told["factor"]
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file") from None
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(f"{path}: not a patch tokenizer") from None
        if type(factor) is not int or patches.ndim != 2 or patches.shape[1] != 3 * factor**2:
            raise ValueError(f"{path}: codes {tuple(patches.shape)} are not patches of {factor!r}")
        return cls(patches, factor)


def _patches(images: Tensor, factor: int) -> Tensor:
    """[B, 3, H, W] to [B h w, P]."""
    return rearrange(images, "b c (h y) (w x) -> (b h w) (c y x)", y=factor, x=factor)
