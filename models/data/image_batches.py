"""Decodes batches of a source's images ahead of time, in separate processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.data.image_decoding import load_image
from models.data.image_sources import Item, UnusableImage

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """The decoded images of a batch.

    Attributes:
        pixels: the pixels of the usable images, [n, size, size, 3].
        faults: for each image of the batch, the reason why it cannot be used, or "".
    """

    pixels: Pixels
    faults: list[str]


def batches_of(items: Sequence[Item], batch: int) -> list[Sequence[Item]]:
    """Split items into batches of that size; the last may be smaller."""
    return [items[start : start + batch] for start in range(0, len(items), batch)]


class _Decoder(Dataset[Pixels | str]):
    """Decodes items that come from the sampler, so that no worker needs the whole list."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __getitem__(self, item: Item) -> Pixels | str:
        try:
            return load_image(item, self._size)
        except UnusableImage as error:
            return str(error)

    def collate(self, found: list[Pixels | str]) -> Decoded:
        pixels = [image for image in found if not isinstance(image, str)]
        stacked = np.stack(pixels) if pixels else np.empty((0, self._size, self._size, 3), np.uint8)
        return Decoded(stacked, [image if isinstance(image, str) else "" for image in found])


def decode_batches(batches: list[Sequence[Item]], size: int, workers: int) -> Iterator[Decoded]:
    """Yield decoded batches in order; workers decode ahead (0: this process decodes)."""
    # numpy arrays go through pipes. Tensors would need shared memory, which is often too small in
    # containers.
    decoder = _Decoder(size)
    loader: DataLoader[Pixels | str] = DataLoader(
        decoder,
        batch_sampler=batches,  # type: ignore[arg-type]  # its "indices" are the items themselves
        num_workers=min(workers, len(batches)),
        collate_fn=decoder.collate,
        worker_init_fn=_end_with_driver,
    )
    yield from loader


def _end_with_driver(_: int) -> None:
    """End this worker with the driver; else it would wait for ever for a killed driver."""
    driver = multiprocessing.parent_process()

    def wait() -> None:
        if driver is not None:
            driver.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def to_floats(pixels: Pixels, device: str = "cpu") -> Tensor:
    """Convert pixels [n, H, W, 3] in 0 … 255 to a tensor [n, 3, H, W] in [0, 1]."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
