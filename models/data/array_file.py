"""Arrays of .npy files, memory-mapped; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.regular_files import not_a_file


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array in a .npy file, read where it is needed.

    Raises:
        ValueError: no such file, not one of .npy, of Python objects, damaged or cut off.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception:  # of any type: whatever the parser of its header stumbles over
        raise ValueError(f"{path}: not a .npy array of numbers, or damaged or cut off") from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path}: a .npz of several arrays, not one of .npy")
    return found
