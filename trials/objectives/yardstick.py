"""What the images of an objective are measured by: a metric on features of images, against real
ones, from files or from what is at hand. It is loaded when it is first needed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
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

    It travels to workers by pickle, with all that it has loaded.

    Args:
        features: of images, or their name, `inception:PATH` or `pixels:PATH` for instance (see
            models.features.image_features).
        reference: the real images, or a .npz with `mu` and `sigma` of their features (see
            models.metrics.reference_statistics).
        metric: the metric or its name, `fid` for instance (see models.metrics.metric).
        quantise: images are rounded to 8 bits before they are measured.
        mean_image: of the real images, in [0, 1], where they do not come from a file that has it.
        protocol: fields of the protocol that are known better than from the above.

    Raises:
        ValueError: an unknown name, or a file that is missing.
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
        files = [] if isinstance(reference, RealImages) else [reference]
        if isinstance(features, str):
            files.append(parse_features(features)[1])
        for file in files:
            if not Path(file).is_file():
                raise ValueError(f"{file}: no such file")

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """What measures the images.

        Raises:
            ValueError: files that are not what they should be, or do not fit together.
        """
        with one_thread():
            features, real = self._features, self._reference
            if isinstance(features, str):
                features = load_features(features)
            if not isinstance(real, RealImages):
                real = self._real_images(features)
            return Evaluator(self.metric, features, real)

    def seen(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        """Images in [0, 1] as they are measured."""
        return map(quantised, chunks) if self._quantise else chunks

    def constant_images(self, like: Tensor) -> list[Tensor]:
        """Images that a generator could give for ever: black, white, and the real ones' mean where
        it is known.

        Args:
            like: an image of the generator, for the shape.
        """
        plain = [torch.zeros_like(like), torch.ones_like(like)]
        mean = self._own_mean if self._file is None else self._file.mean_image
        if mean is None:
            return plain
        return [quantised(mean) if self._quantise else mean, *plain]

    def describe(self, classes: str) -> dict[str, str | None]:
        """The protocol (see `Objective.describe`).

        Args:
            classes: how they are drawn, in words.
        """
        kind = self._features.partition(":")[0] if isinstance(self._features, str) else ""
        made = None if self._file is None else self._file.made
        real = "" if made is None else f"; real: {made.source} at {made.size}"
        return {
            **self.evaluator.describe(),
            "resize": RESIZES.get(kind),
            "quantisation": "8 bits" if self._quantise else "none",
            "classes": classes + real,
            **self._protocol,
        }

    def to(self, where: str) -> None:
        """Move to a device, as far as it is loaded."""
        if "evaluator" in self.__dict__:
            self.evaluator.to(where)

    @functools.cached_property
    def _file(self) -> Reference | None:
        """What the reference's file holds."""
        real = self._reference
        return None if isinstance(real, RealImages) else read_reference(real)

    def _real_images(self, features: Features) -> RealImages:
        path, found = self._reference, self._file
        if found is None or isinstance(path, RealImages):
            raise ValueError("the real images do not come from a file")
        width = len(found.statistics.mean)
        if width != features.num_features:
            raise ValueError(
                f"{path}: {width} features are not the {features.num_features} of {self._features}"
            )
        if found.made is not None and found.made.features_hash != features.hash():
            raise ValueError(f"{path}: made with other features than {self._features}")
        known = None
        if self.metric.needs_real_features:
            known = read_features(Path(path), found.statistics)
        return RealImages(found.statistics, known, found.halves)
