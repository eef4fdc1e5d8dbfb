"""Measures images with a metric, by their features, against real images.

Images come in chunks. Their features are sorted into groups, and the metric keeps a part for each
group, from which it estimates the error. The size of a group follows from the largest n. Where
there are enough images it is a multiple of the classes, so that each group is a fair sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.features.features import Features
from models.metrics.metric import GROUPS, Anchored, Estimate, Metric, RealImages
from models.precision import computing_in, device
from search.controls import CONSTANT_IMAGE, REAL_IMAGES


class Measuring:
    """The features of the images of one evaluation, which come a chunk at a time.

    Args:
        evaluator: measures them.
        rungs: growing n.
        classes: the number of classes, from which the images come in turn.
        precision: of the features (see models.precision).
    """

    def __init__(
        self, evaluator: Evaluator, rungs: Sequence[int], classes: int, precision: str
    ) -> None:
        self._evaluator, self._rungs, self._precision = evaluator, rungs, precision
        most = rungs[-1]
        self._size = most // (GROUPS * classes) * classes or max(1, most // GROUPS)
        self._stops = sorted({*range(0, most, self._size), *rungs})
        self._groups: list[Any] = []
        self._rest = self._taken = None
        self._made = 0

    def add(self, images: Tensor) -> Iterator[Estimate]:
        """An estimate at each rung that these images reach, from all images up to it.

        Args:
            images: the next ones in [0, 1], [B, ...], on this process's device.
        """
        metric, real, size = self._evaluator.metric, self._evaluator.real, self._size
        last = self._made + len(images)
        cuts = [end - self._made for end in self._stops if self._made < end < last]
        for some in torch.tensor_split(images, cuts):
            found = self._evaluator.features_of(some, self._precision)
            self._taken = _joined(self._taken, metric.part(found))
            self._made += len(some)
            if self._made % size and self._made not in self._rungs:
                continue
            self._rest, self._taken = _joined(self._rest, self._taken), None
            if self._made % size == 0:
                self._groups, self._rest = [*self._groups, self._rest], None
            if self._made in self._rungs:
                yield metric.estimate(real, _with_rest(self._groups, self._rest))


class Evaluator:
    """A metric, the features that it compares, and the real images.

    Args:
        metric: the metric.
        features: computes the features of images.
        real: the statistics of the real images in these features, with the features themselves
            where the metric needs them.
    """

    def __init__(self, metric: Metric, features: Features, real: RealImages) -> None:
        self.metric, self.features, self.real = metric, features, real

    def check(self, images: int) -> None:
        """Refuse an n for which the metric is not defined, or a metric that lacks what it needs.

        Raises:
            ValueError: there are too few images, or too many; or the metric needs features of real
                images, and only their statistics are known.
        """
        if self.metric.needs_real_features and self.real.features is None:
            raise ValueError(
                f"the metric {self.metric.name} needs the features of the real images, of which "
                "only the statistics are known"
            )
        width = self.features.num_features
        fewest, most = self.metric.images_needed(width)
        if images < fewest:
            raise ValueError(
                f"{images} images are too few for the metric {self.metric.name}: with {width} "
                f"features an image it needs at least {fewest}"
            )
        if most is not None and images > most:
            raise ValueError(
                f"{images} images are too many for the metric {self.metric.name}: with {width} "
                f"features an image it takes at most {most}"
            )

    def to(self, where: str) -> None:
        """Move to a device."""
        self.features, self.real = self.features.to(where), self.real.to(where)

    def describe(self) -> dict[str, str]:
        """What decides the value, as fields of a protocol."""
        return {
            "metric": self.metric.name,
            "features": self.features.description,
            "features_hash": self.features.hash(),
            "reference_statistics_hash": self.real.hash(self.metric.needs_real_features),
        }

    def estimates(
        self,
        chunks: Iterable[Tensor],
        rungs: Sequence[int],
        classes: int,
        precision: str = "default",
    ) -> Iterator[Estimate]:
        """An estimate at each rung, from all images up to it.

        Args:
            chunks: of images in [0, 1], [<= chunk, ...], on this process's device.
            rungs: growing n; the chunks hold as many images as the last one.
            classes: the number of classes, from which the images come in turn.
            precision: of the features (see models.precision).
        """
        self.to(device())
        measuring = Measuring(self, rungs, classes, precision)
        for images in chunks:
            yield from measuring.add(images)

    def anchors(
        self, images: int, constants: Sequence[Tensor], precision: str = "default"
    ) -> Mapping[str, float]:
        """The values of real images and of the best constant image, if the metric knows them.

        Args:
            images: n, how many real images are compared with all of them.
            constants: images that a generator could repeat; the lowest value counts.
            precision: of the features (see models.precision).
        """
        if not isinstance(self.metric, Anchored):
            return {}
        self.to(device())
        batches = (image[None].to(device()) for image in constants)
        alike = [self.features_of(images, precision)[0] for images in batches]
        known = [self.metric.of_constant_image(self.real, one) for one in alike]
        found = {
            REAL_IMAGES: self.metric.of_real_images(self.real, images),
            CONSTANT_IMAGE: min((one for one in known if one is not None), default=None),
        }
        return {name: value for name, value in found.items() if value is not None}

    def features_of(self, images: Tensor, precision: str) -> Tensor:
        """Features [B, F], of the type of the real ones where the metric compares both."""
        with computing_in(precision):
            found: Tensor = self.features(images)
        known = self.real.features
        if known is None or not self.metric.needs_real_features:
            return found
        return found.to(known.dtype)


def _joined(one: Any, other: Any) -> Any:
    return other if one is None else one + other


def _with_rest(groups: list[Any], rest: Any) -> list[Any]:
    """The groups, with the images that do not fill a group of their own in the last one."""
    if rest is None:
        return groups
    return [*groups[:-1], groups[-1] + rest] if groups else [rest]
