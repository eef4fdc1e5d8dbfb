"""Arrays of .npy files, memory-mapped; nothing is unpickled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.regular_files import not_a_file


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """Map the array of a .npy file into memory; parts are read when they are needed.

    Raises:
        ValueError: the file does not exist, is not a .npy file, holds Python objects, or is
            damaged.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception:  # of any type, because the parser of the header raises many
        raise ValueError(f"{path}: not a .npy array of numbers, or damaged or cut off") from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path}: expected a .npy file, got a .npz file of several arrays")
    return found


def reserve_space(path: Path) -> None:
    """Reserve the file's space on disk; if a mapped file runs out of space later, the process dies.

    Raises:
        ValueError: there is not enough space.
    """
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ValueError(f"{path}: cannot reserve {size / 1e9:.2f} GB ({error.strerror})") from None
