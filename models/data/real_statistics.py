"""Statistics of a source's real images: the reference that FID compares with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.data.image_batches import batches_of, decode_batches, to_floats
from models.data.image_sources import ImageSource
from models.features.features import Features
from models.features.image_features import fit_pixels, load_features, pixel_width
from models.metrics.anchors import halves_of
from models.metrics.frechet import Sums
from models.metrics.real_features import Sample, features_file, write_features
from models.metrics.reference_statistics import Made, Reference, write_reference
from models.precision import device
from search.progress import Report, Reports

PIXELS = "pixels"
"""Features that are fitted on the images, and lie beside the statistics."""


def real_statistics(
    source: ImageSource,
    features: str,
    size: int,
    path: Path,
    *,
    side: int,
    batch: int,
    workers: int,
    report: Reports,
    keep: int = 0,
) -> tuple[Reference, list[str]]:
    """Measure all images of a source and write their statistics.

    Args:
        source: the images.
        features: a name of `load_features`, or "pixels", which are fitted first and written to
            `pixels_file(path)`.
        size: side of the images in pixels.
        path: of the .npz file.
        side: of fitted features' small images.
        batch: images at once.
        workers: processes that decode; 0: this one.
        report: gives, for a task by name, what is called with (images done, images, a note).
        keep: of how many images, drawn at random, the features are written beside (see
            `models.metrics.real_features`); 0: of none.

    Returns:
        What was written, and NAME: REASON of the images that were skipped.

    Raises:
        ValueError: unknown features, or fewer images than a covariance needs.
    """
    skipped: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    if features == PIXELS:
        width = pixel_width(side)
        _require_images(source, source.usable, width)
        images = _images(source, size, batch, workers, [], report("fitting"), width)
        fitted = fit_pixels(images, side)
        fitted.save(pixels_file(path))
        features = f"{PIXELS}:{pixels_file(path)}"
    network = load_features(features).to(device())
    _require_images(source, source.usable, network.num_features)
    told = report("measuring images")
    images = _images(source, size, batch, workers, skipped, told, network.num_features)
    sample = Sample(keep)
    found = _sums(network, images, sample)
    sums = found.whole
    place = f"{source.kind} {source.place}"
    made = Made(network.description, network.hash(), size, True, place)
    rest = Sums(
        sums.features - found.half.features,
        sums.outer - found.half.outer,
        sums.images - found.half.images,
    )
    halves = halves_of(found.half, rest)
    reference = Reference(sums.statistics(), made, halves, found.mean_image)
    features_file(path).unlink(missing_ok=True)  # of other statistics
    write_reference(path, reference)
    if (kept := sample.features()) is not None:
        write_features(path, kept, reference.statistics)
    return reference, skipped


def _require_images(source: ImageSource, images: int, features: int) -> None:
    """Said before anything is decoded, where the list alone tells.

    Raises:
        ValueError: fewer images than a covariance of so many features needs.
    """
    if images <= features:
        raise ValueError(
            f"{source.place}: {images} images are too few: the covariance of {features} features "
            f"is singular below {features + 1}"
        )


def pixels_file(path: Path) -> Path:
    """Where fitted features lie."""
    return path.with_suffix(".pixels.safetensors")


def _images(
    source: ImageSource,
    size: int,
    batch: int,
    workers: int,
    skipped: list[str],
    report: Report,
    features: int,
) -> Iterator[Tensor]:
    """Batches [B, 3, size, size] in [0, 1] of what can be used; the rest is noted in `skipped`.

    Raises:
        ValueError: behind the last of them, where all were too few for so many features.
    """
    done = 0
    batches = batches_of(source.items, batch)
    for items, found in zip(batches, decode_batches(batches, size, workers), strict=True):
        reasons = zip(items, found.faults, strict=True)
        skipped += [f"{item.name}: {fault}" for item, fault in reasons if fault]
        done += len(items)
        report(done, len(source.items), f"{len(skipped)} skipped" if skipped else "")
        if len(found.pixels):
            yield to_floats(found.pixels)
    if len(skipped) == done:
        raise ValueError(f"{source.place}: no image can be used; the first: {skipped[0]}")
    _require_images(source, done - len(skipped), features)


@dataclass(frozen=True)
class _Found:
    """Of all images, and of a half of them that was drawn at random; and their mean [3, H, W]."""

    whole: Sums
    half: Sums
    mean_image: Tensor


def _sums(features: Features, batches: Iterator[Tensor], sample: Sample) -> _Found:
    """Streamed: memory does not grow with the images."""
    width = features.num_features
    whole = half = Sums(torch.zeros(width).double(), torch.zeros(width, width).double(), 0)
    pixels = torch.zeros(()).double()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for images in batches:
            found = features(images.to(device())).double()
            whole += _sums_of(found)
            sample.add(found)
            half += _sums_of(found[torch.rand(len(found), generator=generator) < 0.5])
            pixels = pixels + images.double().sum(0)
    return _Found(whole, half, (pixels / whole.images).float().clamp(0, 1))


def _sums_of(found: Tensor) -> Sums:
    return Sums(found.sum(0).cpu(), (found.T @ found).cpu(), len(found))
