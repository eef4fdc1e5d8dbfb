"""Files of reference statistics: a .npz with the `mu` [F] and `sigma` [F, F] of real images.

Public files hold nothing else; that of Halton-MaskGIT is a .pt with `mu` and `cov`. Our files also
hold the protocol, that is how the statistics were made, and anchors for the values measured with
them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.metrics.anchors import Halves
from models.metrics.frechet import Statistics
from models.regular_files import not_a_file
from models.tensor_file import load_torch
from search.files import write_whole

PROTOCOL, MEAN_IMAGE = "protocol", "mean_image"
TORCH = (".pt", ".pth")
"""The endings of files of torch.save."""


@dataclass(frozen=True)
class Made:
    """How statistics were made.

    Attributes:
        features: the features, in words.
        features_hash: the hash of the features' weights.
        size: the side of the images in pixels.
        quantised: whether pixels were rounded to 8 bits, as those of image files always are.
        source: the source of the images, in words.
    """

    features: str
    features_hash: str
    size: int
    quantised: bool
    source: str


@dataclass(frozen=True)
class Reference:
    """The content of a file.

    Attributes:
        statistics: the statistics of the real images.
        made: how they were made; None for a public file, which does not say.
        halves: the FID between two halves of the real images; None if unknown.
        mean_image: the mean of the real images, [3, H, W] in [0, 1]; None if unknown.
    """

    statistics: Statistics
    made: Made | None
    halves: Halves | None = None
    mean_image: Tensor | None = None


def write_reference(path: Path, reference: Reference) -> None:
    """Write a file atomically."""
    statistics = reference.statistics.to("cpu")
    protocol: dict[str, Any] = {"images": statistics.images}
    if reference.made is not None:
        protocol |= asdict(reference.made)
    if reference.halves is not None:
        protocol["halves"] = asdict(reference.halves)
    with write_whole(path) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = {
            "mu": statistics.mean.numpy(),
            "sigma": statistics.covariance.numpy(),
            PROTOCOL: np.array(json.dumps(protocol)),
        }
        if reference.mean_image is not None:
            arrays[MEAN_IMAGE] = reference.mean_image.numpy()
        np.savez(file, **arrays)


def read_reference(path: str | Path) -> Reference:
    """Read a public file, or one of ours.

    Raises:
        ValueError: the file does not exist or does not hold statistics; the line says why.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    arrays = _read_torch(path) if Path(path).suffix in TORCH else _read_arrays(path)
    lacking = [name for name in ("mu", "sigma") if name not in arrays]
    if lacking:
        raise ValueError(f"{path}: expected {' and '.join(lacking)} in the file, got {[*arrays]}")
    try:
        images, made, halves = _read_protocol(arrays.get(PROTOCOL))
        mean, covariance = _checked_statistics(arrays["mu"], arrays["sigma"])
        mean_image = _checked_image(arrays.get(MEAN_IMAGE))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Reference(Statistics(mean, covariance, images), made, halves, mean_image)


def _read_torch(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read a file of torch.save with the tensors `mu` and `cov`, as Halton-MaskGIT has it.

    Raises:
        ValueError: the file is not such a file.
    """
    content = load_torch(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected tensors mu and cov, got {type(content).__name__}")
    names = {"cov": "sigma"}
    return {
        names.get(str(name), str(name)): value.detach().double().numpy()
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def _read_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read the known arrays of a .npz file; others are empty. Nothing is unpickled.

    Raises:
        ValueError: the file is not a .npz file of numbers.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("one array")
        with loaded as file:
            known = ("mu", "sigma", PROTOCOL, MEAN_IMAGE)
            return {name: file[name] if name in known else np.empty(0) for name in file.files}
    except MemoryError:
        raise
    except Exception:  # of any type, because the parsers of zip, .npy and its header raise many
        raise ValueError(
            f"{path}: not a .npz file of numbers, or damaged; objects are not unpickled"
        ) from None


def _read_protocol(
    protocol: npt.NDArray[Any] | None,
) -> tuple[int | None, Made | None, Halves | None]:
    """Read the number of images, how they were made, and the FID between two halves of them.

    Raises:
        ValueError: the protocol is not one that `write_reference` writes.
    """
    if protocol is None:
        return None, None, None
    try:
        content = json.loads(str(protocol))
        images, distances = content.pop("images", None), content.pop("halves", None)
        halves = None if distances is None else Halves(**distances)
        made = Made(**content) if content else None
    except (json.JSONDecodeError, AttributeError, TypeError):
        raise ValueError("its protocol is damaged or of an unknown version") from None
    if images is not None and (type(images) is not int or images < 2):
        raise ValueError(f"its protocol: expected images >= 2, got {images!r}")
    fields: dict[str, Any] = {} if made is None else asdict(made)
    kinds: dict[str, type] = {"size": int, "quantised": bool}
    for name, value in fields.items():
        if type(value) is not kinds.get(name, str):
            expected = kinds.get(name, str).__name__
            raise ValueError(f"its protocol: expected {name} of type {expected}, got {value!r}")
    if made is not None and made.size < 1:
        raise ValueError(f"its protocol: expected size >= 1, got {made.size}")
    return images, made, halves


def _checked_image(found: npt.NDArray[Any] | None) -> Tensor | None:
    """Return the mean of the real images, if the file holds it.

    Raises:
        ValueError: it is not an image.
    """
    if found is None:
        return None
    if found.ndim != 3 or len(found) != 3 or found.dtype.kind != "f":
        raise ValueError(
            f"{MEAN_IMAGE}: expected floats of shape (3, H, W), got {found.dtype} {found.shape}"
        )
    if not (found.size and np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1):
        raise ValueError(f"{MEAN_IMAGE}: expected finite values in [0, 1]")
    return torch.from_numpy(found.astype(np.float32))


def _checked_statistics(
    mean: npt.NDArray[Any], covariance: npt.NDArray[Any]
) -> tuple[Tensor, Tensor]:
    """Return mean and covariance in float64.

    Raises:
        ValueError: they cannot be a mean and a covariance.
    """
    for name, value in (("mu", mean), ("sigma", covariance)):
        if value.dtype.kind != "f":
            raise ValueError(f"{name} is not an array of floats")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} is not finite")
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            "expected mu of shape (F,) and sigma of shape (F, F), got "
            f"{mean.shape} and {covariance.shape}"
        )
    if not np.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-8 * np.abs(covariance).max()):
        raise ValueError("sigma is not symmetric")
    found = torch.from_numpy(covariance.astype(np.float64))
    _require_positive(found)
    return torch.from_numpy(mean.astype(np.float64)), found


def _require_positive(covariance: Tensor) -> None:
    """Refuse a covariance with an eigenvalue that is negative beyond the rounding of float32.

    Raises:
        ValueError: there is such an eigenvalue.
    """
    rounding = len(covariance) * torch.finfo(torch.float32).eps
    # Cholesky takes a tenth of the work of eigenvalues, which are computed only if it fails.
    ridge = covariance.diagonal().max().clamp(min=0) * rounding
    _, failed = torch.linalg.cholesky_ex(covariance + ridge * torch.eye(len(covariance)))
    if not failed:
        return
    values = torch.linalg.eigvalsh((covariance + covariance.T) / 2)
    if values[0] < -rounding * values[-1].clamp(min=0):
        raise ValueError(
            f"sigma is not a covariance: its smallest eigenvalue is {values[0]:.4g}, and its "
            f"largest is {values[-1]:.4g}"
        )
