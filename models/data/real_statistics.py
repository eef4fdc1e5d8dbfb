"""Makes reference statistics, with which FID is computed, from the real images of a source."""

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
"""The name of features that are fitted to the images and stored beside the statistics."""


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
        features: a name for `load_features`, or "pixels" for features that are fitted first and
            written to `pixels_file(path)`.
        size: the side of the images in pixels.
        path: the path of the .npz file to write.
        side: the side in pixels of the scaled-down images of fitted features.
        batch: the number of images at once.
        workers: the number of processes that decode images; 0 for this process.
        report: makes the report of a task, given its name.
        keep: the number of images, drawn at random, whose features are written beside the
            statistics (see `models.metrics.real_features`).

    Returns:
        The written reference, and "NAME: REASON" of each skipped image.

    Raises:
        ValueError: the features are unknown, or there are too few images for a covariance.
    """
    skipped: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    if features == PIXELS:
        width = pixel_width(side)
        _require_images(source, source.usable, width)
        images = _usable_images(source, size, batch, workers, [], report("fitting"), width)
        fitted = fit_pixels(images, side)
        fitted.save(pixels_file(path))
        features = f"{PIXELS}:{pixels_file(path)}"
    network = load_features(features).to(device())
    _require_images(source, source.usable, network.num_features)
    measuring, width = report("measuring images"), network.num_features
    images = _usable_images(source, size, batch, workers, skipped, measuring, width)
    sample = Sample(keep)
    found = _sum_features(network, images, sample)
    sums = found.whole
    place = f"{source.kind} {source.place}"
    made = Made(network.description, network.hash(), size, True, place)
    halves = halves_of(found.half, sums - found.half)
    reference = Reference(sums.statistics().to("cpu"), made, halves, found.mean_image)
    features_file(path).unlink(missing_ok=True)  # it belongs to former statistics
    write_reference(path, reference)
    if (kept := sample.features()) is not None:
        write_features(path, kept, reference.statistics)
    return reference, skipped


def _require_images(source: ImageSource, images: int, features: int) -> None:
    """Refuse too few images; called before decoding with what is known from the list, and after it.

    Raises:
        ValueError: there are too few images for a covariance of so many features.
    """
    if images <= features:
        raise ValueError(
            f"{source.place}: expected at least {features + 1} images, because the covariance of "
            f"{features} features is singular below that, got {images}"
        )


def pixels_file(path: Path) -> Path:
    """Return the path of fitted features."""
    return path.with_suffix(".pixels.safetensors")


def _usable_images(
    source: ImageSource,
    size: int,
    batch: int,
    workers: int,
    skipped: list[str],
    report: Report,
    features: int,
) -> Iterator[Tensor]:
    """Yield batches [B, 3, size, size] in [0, 1] of usable images; note the others in `skipped`.

    Raises:
        ValueError: after the last batch, if there were too few images for so many features.
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
class _FeatureSums:
    """The sums of all images and of a random half of them, and the mean image [3, H, W]."""

    whole: Sums
    half: Sums
    mean_image: Tensor


def _sum_features(features: Features, batches: Iterator[Tensor], sample: Sample) -> _FeatureSums:
    """Sum the features batch by batch, so that memory does not grow with the images."""
    none = torch.zeros(0, features.num_features, device=device())
    whole = half = Sums.of(none)
    pixels = torch.zeros(()).double()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for images in batches:
            found = features(images.to(device())).double()
            whole += Sums.of(found)
            sample.add(found)
            half += Sums.of(found[torch.rand(len(found), generator=generator) < 0.5])
            pixels = pixels + images.double().sum(0)
    return _FeatureSums(whole, half, (pixels / whole.images).float().clamp(0, 1))
