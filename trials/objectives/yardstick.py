"""What measures the images of an objective: a metric on features, and real images to compare with.

Features and real images are given as objects, or by files that are loaded when they are first
needed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.features.features import Features
from models.features.image_features import RESIZES, load_features, parse_features, quantised
from models.metrics.metric import Metric, RealImages, load_metric
from models.metrics.real_features import read_features
from models.metrics.reference_statistics import Reference, read_reference
from models.threads import one_thread
from trials.objectives.evaluator import Evaluator


class Yardstick:
    """A metric, features, and real images to compare with.

    It is sent to workers by pickle, with everything that it has loaded.

    Args:
        features: the features, or their name, such as `inception:PATH` or `pixels:PATH` (see
            models.features.image_features).
        reference: the real images, or a .npz file with `mu` and `sigma` of their features (see
            models.metrics.reference_statistics).
        metric: the metric or its name, such as `fid` (see models.metrics.metric).
        quantise: whether images are rounded to 8 bits before they are measured.
        mean_image: the mean of the real images, in [0, 1], in place of that of the file.
        protocol: fields of the protocol that replace those derived from the above.

    Raises:
        ValueError: a name is unknown, or a file is missing.
    """

    def __init__(
        self,
        features: Features | str,
        reference: RealImages | str | Path,
        *,
        metric: Metric | str = "fid",
        quantise: bool = False,
        mean_image: Tensor | None = None,
        protocol: Mapping[str, str] | None = None,
    ) -> None:
        self.metric = load_metric(metric) if isinstance(metric, str) else metric
        self._features, self._reference = features, reference
        self._quantise, self._own_mean, self._protocol = quantise, mean_image, protocol or {}
        self._others: dict[str, Yardstick] = {}
        if not isinstance(reference, RealImages) and not Path(reference).is_file():
            raise ValueError(f"{reference}: no such file")
        if isinstance(features, str) and not Path(parse_features(features)[1]).exists():
            raise ValueError(f"{parse_features(features)[1]}: no such file")

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of the images, loaded when it is first used.

        Raises:
            ValueError: a file is not what it should be, or the files do not fit together.
        """
        with one_thread():
            features = self._features
            if isinstance(features, str):
                features = load_features(features)
            return Evaluator(self.metric, features, self._real_images(features))

    def in_metric(self, metric: str) -> Yardstick:
        """The same features and real images under another metric; what is loaded is shared.

        Args:
            metric: its name.

        Raises:
            ValueError: the name is unknown, or the metric needs features of real images that are
                not known.
        """
        if metric == self.metric.name:
            return self
        if metric not in self._others:
            loaded, other = self.evaluator, copy.copy(self)
            other.metric, other._others = load_metric(metric), {}
            real = loaded.real
            if other.metric.needs_real_features and real.features is None:
                real = other._real_images(loaded.features)
            other.evaluator = Evaluator(other.metric, loaded.features, real)
            self._others[metric] = other
        return self._others[metric]

    def seen(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as they are measured: quantised if that is set, and grey ones in colour
        for our features, which read pictures in colour."""
        images = quantised(images) if self._quantise else images
        return _in_colour(images) if self._kind in RESIZES else images

    def constant_images(self, like: Tensor) -> list[Tensor]:
        """Images that a generator could repeat forever: black, white, and the mean of real images.

        The mean is left out where it is not known.

        Args:
            like: an image of the generator, which gives the shape.
        """
        constants = torch.stack([torch.zeros_like(like), torch.ones_like(like)])
        plain = [*self.seen(constants)]
        mean = self._own_mean
        if mean is None and self._file is not None:
            mean = self._file.mean_image
        if mean is None:
            return plain
        return [quantised(mean) if self._quantise else mean, *plain]

    def describe(self, classes: str) -> dict[str, str | None]:
        """The protocol (see `Objective.describe`).

        Args:
            classes: how the classes are drawn, in words.
        """
        made = None if self._file is None else self._file.made
        real = "" if made is None else f"; real: {made.source} at {made.size}"
        return {
            **self.evaluator.describe(),
            "resize": RESIZES.get(self._kind),
            "quantisation": "8 bits" if self._quantise else "none",
            "classes": classes + real,
            **self._protocol,
        }

    def to(self, where: str) -> None:
        """Move to a device what is loaded."""
        for one in (self, *self._others.values()):
            if "evaluator" in one.__dict__:
                one.evaluator.to(where)

    @property
    def _kind(self) -> str:
        """The kind of features by name; "" of others."""
        return self._features.partition(":")[0] if isinstance(self._features, str) else ""

    @functools.cached_property
    def _file(self) -> Reference | None:
        """The content of the reference file; None where there is no file."""
        real = self._reference
        return None if isinstance(real, RealImages) else read_reference(real)

    def _real_images(self, features: Features) -> RealImages:
        path = self._reference
        if isinstance(path, RealImages):
            return path
        found = read_reference(path) if self._file is None else self._file
        width = len(found.statistics.mean)
        if width != features.num_features:
            raise ValueError(
                f"{path}: expected the {features.num_features} features of {self._features}, got "
                f"{width}"
            )
        if found.made is not None and found.made.features_hash != features.hash():
            raise ValueError(f"{path}: made with other features than {self._features}")
        known = None
        if self.metric.needs_real_features:
            known = read_features(Path(path), found.statistics)
        return RealImages(found.statistics, known, found.halves)


def _in_colour(images: Tensor) -> Tensor:
    """Images [B, 3, H, W]; grey ones come as [B, H, W]."""
    return images if images.ndim == 4 else images[:, None].expand(-1, 3, -1, -1)
