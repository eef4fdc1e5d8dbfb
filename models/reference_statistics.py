"""Statistics of the real images in a file: a .npz with `mu` [F] and `sigma` [F, F].

The public files hold nothing else. Ours say as well how they were made, so that the protocol
travels with the numbers.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from models.frechet import Statistics

PROTOCOL = "protocol"


@dataclass(frozen=True)
class Made:
    """How statistics were made.

    Attributes:
        features: in words.
        features_hash: of their weights.
        size: side of the images in pixels.
        quantised: whether pixels were rounded to 8 bits; those of image files always are.
        source: where the images came from, in words.
    """

    features: str
    features_hash: str
    size: int
    quantised: bool
    source: str


@dataclass(frozen=True)
class Reference:
    """A file's statistics, and how they were made; None for a public file, which does not say."""

    statistics: Statistics
    made: Made | None


def write_reference(path: Path, reference: Reference) -> None:
    """Write it, whole or not at all."""
    told: dict[str, Any] = {"images": reference.statistics.images}
    if reference.made is not None:
        told |= asdict(reference.made)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            mu=reference.statistics.mean.numpy(),
            sigma=reference.statistics.covariance.numpy(),
            protocol=np.array(json.dumps(told)),
        )
    os.replace(partial, path)


def read_reference(path: str | Path) -> Reference:
    """Read a public file, or one of ours.

    Raises:
        ValueError: no such file, or not statistics; what is wrong with them is named.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError(f"{path}: not a .npz file")
        with loaded as file:
            lacking = [name for name in ("mu", "sigma") if name not in file.files]
            if lacking:
                raise ValueError(f"{path}: lacks {' and '.join(lacking)}; it has {file.files}")
            mean, covariance = file["mu"], file["sigma"]
            told = json.loads(str(file[PROTOCOL])) if PROTOCOL in file.files else {}
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or 'not a .npz file'}") from None
    except (BadZipFile, EOFError, json.JSONDecodeError):
        raise ValueError(f"{path}: not a .npz file of statistics") from None
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a .npz file of numbers") from None
    _check(path, mean, covariance)
    statistics = Statistics(
        torch.from_numpy(mean.astype(np.float64)),
        torch.from_numpy(covariance.astype(np.float64)),
        told.pop("images", None),
    )
    try:
        return Reference(statistics, Made(**told) if told else None)
    except TypeError:
        raise ValueError(f"{path}: its protocol is not one that this version writes") from None


def _check(path: str | Path, mean: Any, covariance: Any) -> None:
    for name, value in (("mu", mean), ("sigma", covariance)):
        if value.dtype.kind != "f":
            raise ValueError(f"{path}: {name} is not an array of floats")
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: {name} is not finite")
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"{path}: mu {mean.shape} and sigma {covariance.shape} are not a mean and a covariance"
        )
    if not np.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-8 * np.abs(covariance).max()):
        raise ValueError(f"{path}: sigma is not symmetric")
