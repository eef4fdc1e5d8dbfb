"""Statistics of the real images in a file: a .npz with `mu` [F] and `sigma` [F, F].

The public files hold nothing else. Ours say as well how they were made, so that the protocol
travels with the numbers, and what a number against them is worth.
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
from search.files import write_whole

PROTOCOL, MEAN_IMAGE = "protocol", "mean_image"


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
    """What a file holds.

    Attributes:
        statistics: of the real images.
        made: how; None for a public file, which does not say.
        halves: what one half of the real images has against the other; None where nobody says.
        mean_image: [3, H, W] in [0, 1], or None where nobody says.
    """

    statistics: Statistics
    made: Made | None
    halves: Halves | None = None
    mean_image: Tensor | None = None


def write_reference(path: Path, reference: Reference) -> None:
    """Write it, whole or not at all."""
    statistics = reference.statistics.to("cpu")
    told: dict[str, Any] = {"images": statistics.images}
    if reference.made is not None:
        told |= asdict(reference.made)
    if reference.halves is not None:
        told["halves"] = asdict(reference.halves)
    with write_whole(path) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = {
            "mu": statistics.mean.numpy(),
            "sigma": statistics.covariance.numpy(),
            PROTOCOL: np.array(json.dumps(told)),
        }
        if reference.mean_image is not None:
            arrays[MEAN_IMAGE] = reference.mean_image.numpy()
        np.savez(file, **arrays)


def read_reference(path: str | Path) -> Reference:
    """Read a public file, or one of ours.

    Raises:
        ValueError: no such file, or not statistics; what is wrong with them is named.
    """
    if (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    arrays = _arrays(path)
    lacking = [name for name in ("mu", "sigma") if name not in arrays]
    if lacking:
        raise ValueError(f"{path}: lacks {' and '.join(lacking)}; it has {[*arrays]}")
    try:
        images, made, halves = _told(arrays.get(PROTOCOL))
        mean, covariance = _checked(arrays["mu"], arrays["sigma"])
        mean_image = _image(arrays.get(MEAN_IMAGE))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Reference(Statistics(mean, covariance, images), made, halves, mean_image)


def _arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """What is read of a .npz, by name, and the names of all else; nothing is unpickled.

    Raises:
        ValueError: not such a file.
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
    except Exception:  # of any type: whatever the parsers of zip, .npy and its header stumble over
        raise ValueError(
            f"{path}: not a .npz file of numbers, or damaged; objects are not unpickled"
        ) from None


def _told(
    protocol: npt.NDArray[Any] | None,
) -> tuple[int | None, Made | None, Halves | None]:
    """How many images, how they were made, and what their halves have, where the file says so.

    Raises:
        ValueError: it says it in another way than `write_reference`.
    """
    if protocol is None:
        return None, None, None
    try:
        told = json.loads(str(protocol))
        images, apart = told.pop("images", None), told.pop("halves", None)
        halves = None if apart is None else Halves(**apart)
        made = Made(**told) if told else None
    except (json.JSONDecodeError, AttributeError, TypeError):
        raise ValueError("its protocol is damaged, or not one that this version writes") from None
    if images is not None and (type(images) is not int or images < 2):
        raise ValueError(f"its protocol has images = {images!r}, not an integer >= 2")
    fields: dict[str, Any] = {} if made is None else asdict(made)
    kinds: dict[str, type] = {"size": int, "quantised": bool}
    for name, value in fields.items():
        if type(value) is not kinds.get(name, str):
            raise ValueError(f"its protocol has {name} = {value!r}")
    if made is not None and made.size < 1:
        raise ValueError(f"its protocol has size = {made.size}")
    return images, made, halves


def _image(found: npt.NDArray[Any] | None) -> Tensor | None:
    """The real images' mean, where the file holds it.

    Raises:
        ValueError: not an image.
    """
    if found is None:
        return None
    if found.ndim != 3 or len(found) != 3 or found.dtype.kind != "f":
        raise ValueError(f"{MEAN_IMAGE} {found.dtype} {found.shape} is not an image")
    if not (found.size and np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1):
        raise ValueError(f"{MEAN_IMAGE} is not in [0, 1]")
    return torch.from_numpy(found.astype(np.float32))


def _checked(mean: npt.NDArray[Any], covariance: npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Both in float64.

    Raises:
        ValueError: not the mean and the covariance of anything.
    """
    for name, value in (("mu", mean), ("sigma", covariance)):
        if value.dtype.kind != "f":
            raise ValueError(f"{name} is not an array of floats")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} is not finite")
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"mu {mean.shape} and sigma {covariance.shape} are not a mean and a covariance"
        )
    if not np.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-8 * np.abs(covariance).max()):
        raise ValueError("sigma is not symmetric")
    found = torch.from_numpy(covariance.astype(np.float64))
    _require_positive(found)
    return torch.from_numpy(mean.astype(np.float64)), found


def _require_positive(covariance: Tensor) -> None:
    """Refuse a covariance with a negative eigenvalue, beyond the rounding of a float32 file.

    Raises:
        ValueError: there is one.
    """
    rounding = len(covariance) * torch.finfo(torch.float32).eps
    # Cholesky is a tenth of the work of eigenvalues, which are asked only where it fails.
    ridge = covariance.diagonal().max().clamp(min=0) * rounding
    _, failed = torch.linalg.cholesky_ex(covariance + ridge * torch.eye(len(covariance)))
    if not failed:
        return
    values = torch.linalg.eigvalsh((covariance + covariance.T) / 2)
    if values[0] < -rounding * values[-1].clamp(min=0):
        raise ValueError(
            f"sigma is no covariance: it has the eigenvalue {values[0]:.4g}, its largest being "
            f"{values[-1]:.4g}"
        )
