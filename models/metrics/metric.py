"""The protocol of metrics: from features of generated and real images to a value with its error.

Lower is better for every metric. Images come in batches and in groups. Each group is a
representative sample of all images (with equal numbers of each class), so that the differences
between groups give the standard error. A metric keeps what it needs of a batch (a *part*), parts
are added, and an estimate is made from the parts of all groups. B: images of a batch, F: features
per image, N: real images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from models.hashes import numbers_hash
from models.metrics.anchors import FEWEST_TO_HALVE, Halves
from models.metrics.frechet import Statistics
from search.names import is_metric_name
from search.plugins import Registry

Made = TypeVar("Made")

GROUPS = 20
"""The least number of groups of n images; there are up to twice as many where each holds whole sets
of classes. With more the standard error would be hardly more accurate."""
PARTS = (2, 4)
"""The numbers of disjoint parts into which the groups are divided for the value at smaller n."""


class RealImages:
    """The real images with which generated images are compared.

    Attributes:
        statistics: the mean and covariance of their features.
        features: the features of all or a sample of them, [N, F]; None if only the statistics are
            known.
        halves: the FID between two halves of them; None if unknown.
    """

    def __init__(
        self, statistics: Statistics, features: Tensor | None = None, halves: Halves | None = None
    ) -> None:
        self.statistics, self.features, self.halves = statistics, features, halves
        self._once: dict[str, Any] = {}

    @property
    def can_be_halved(self) -> bool:
        """Whether the features of all images of the statistics are known, and enough for halves."""
        known = 0 if self.features is None else len(self.features)
        return known >= FEWEST_TO_HALVE and known == self.statistics.images

    def known(self) -> Tensor:
        """Return their features.

        Raises:
            ValueError: only the statistics are known.
        """
        if self.features is None:
            raise ValueError("the real images' features are not known, only their statistics")
        return self.features

    def once(self, name: str, make: Callable[[Tensor], Made]) -> Made:
        """Return what a metric derives from the real features alone, computed only once.

        Args:
            name: identifies the result.
            make: computes it from the features [N, F] at the first call with this name.

        Raises:
            ValueError: the features are not known.
        """
        if name not in self._once:
            self._once[name] = make(self.known())
        found: Made = self._once[name]
        return found

    def to(self, device: str | torch.device) -> RealImages:
        """Return the real images on a device; the same object if they are there already."""
        statistics = self.statistics.to(device)
        if statistics is self.statistics:
            return self
        features = None if self.features is None else self.features.to(device)
        return RealImages(statistics, features, self.halves)

    def hash(self, with_features: bool = False) -> str:
        """Return the SHA-256 of the statistics, or of the features."""
        if with_features and self.features is not None:
            return numbers_hash(self.features)
        return self.statistics.hash()


@dataclass(frozen=True)
class KeptFeatures:
    """A part for metrics that need the features [B, F] themselves; on the features' device."""

    features: Tensor

    def __add__(self, other: KeptFeatures) -> KeptFeatures:
        return KeptFeatures(torch.cat([self.features, other.features]))


@dataclass(frozen=True)
class Estimate:
    """The value of a metric for n images, and its error.

    Attributes:
        value: the value for all images.
        standard_error: the standard error of the value over other images of the same generator,
            with the same real images; None if it is unknown.
        value_at: pairs (n, value of n images) for smaller n, in falling order, each a mean over
            disjoint parts; empty for a metric that does not depend on n.
        spread: how much the images differ from each other: the total variance of their features
            over that of the real images; None if the metric does not say.
    """

    value: float
    standard_error: float | None = None
    value_at: tuple[tuple[int, float], ...] = ()
    spread: float | None = None


@runtime_checkable
class Metric(Protocol):
    """Measures how far generated images are from real images; lower is better.

    Attributes:
        name: the label of the value everywhere: lower-case letters, digits, `-` and `_`.
        may_be_negative: whether values below 0 are possible.
        needs_real_features: whether it needs the features of the real images, not only their
            statistics.

    Example: the share of real images that have no generated image nearer than their nearest real
        neighbour ("1 - recall" of Kynkäänniemi et al. 2019, with one neighbour).

        >>> def reach(real: Tensor) -> Tensor:
        ...     return torch.cdist(real, real).fill_diagonal_(torch.inf).amin(1)
        >>> class Missed:
        ...     name = "missed"
        ...     may_be_negative = False
        ...     needs_real_features = True
        ...
        ...     def images_needed(self, features: int) -> tuple[int, int]:
        ...         return 2, 10_000
        ...
        ...     def part(self, features: Tensor) -> KeptFeatures:
        ...         return KeptFeatures(features)
        ...
        ...     def estimate(self, real: RealImages, groups: Sequence[KeptFeatures]) -> Estimate:
        ...         def value(kept: Sequence[KeptFeatures]) -> float:
        ...             made = torch.cat([group.features for group in kept])
        ...             apart = torch.cdist(real.known(), made).amin(1)
        ...             return float((apart > near).double().mean())
        ...
        ...         near = real.once("near", reach)
        ...         return Estimate(value(groups), jackknife(value, groups))
        >>> metric, images = Missed(), torch.arange(12.0).view(6, 2)
        >>> real = RealImages(statistics_of(images), images)
        >>> groups = [metric.part(images[:3]), metric.part(images[3:] + 9)]
        >>> round(metric.estimate(real, groups).value, 3)
        0.333
    """

    name: str
    may_be_negative: bool
    needs_real_features: bool

    def images_needed(self, features: int) -> tuple[int, int | None]:
        """Return the smallest and the largest n (None for no limit), given F = `features`."""

    def part(self, features: Tensor) -> Any:
        """Return what is kept of a batch of generated images with features [B, F], on their device.

        Parts can be added by `+`, and do not depend on the order of images.
        """

    def estimate(self, real: RealImages, groups: Sequence[Any]) -> Estimate:
        """Estimate the value from the parts of one or more groups, which are all on one device.

        The value is not finite if the features are not.
        """


@runtime_checkable
class Anchored(Protocol):
    """A metric that knows anchors, with which its values can be compared."""

    def of_real_images(self, real: RealImages, images: int) -> float | None:
        """Return the value of `images` newly drawn real images; None if it is unknown."""

    def of_constant_image(self, real: RealImages, features: Tensor) -> float | None:
        """Return the value of images that all have the features [F]; None if it is unknown."""


METRICS: Registry[Callable[[], Metric]] = Registry(
    "metric",
    {
        "fid": "models.metrics.fid:FID",
        "fid-infinity": "models.metrics.fid_infinity:FIDInfinity",
        "fid-leading": "models.metrics.leading_fid:LeadingFID",
        "kid": "models.metrics.kid:KID",
        "mmd": "models.metrics.mmd:MMD",
    },
)


def load_metric(name: str) -> Metric:
    """Load a metric by name: built in, registered, or `package.module:Class`.

    Raises:
        ValueError: the name is unknown, or the class is not a metric.
    """
    found = METRICS.load(name)()
    if not isinstance(found, Metric):
        lacking = [word for word in required_members() if not hasattr(found, word)]
        raise ValueError(f"metric {name}: {type(found).__name__} lacks {', '.join(lacking)}")
    if not is_metric_name(found.name):
        raise ValueError(
            f"metric {name}: expected a name of lower-case letters, digits, - and _, got "
            f"{found.name!r}"
        )
    return found


def required_members() -> list[str]:
    """Return the names of the attributes and methods that every metric has."""
    attributes = [word for word in Metric.__annotations__ if not word.startswith("_")]
    return [*attributes, "images_needed", "part", "estimate"]


def at_smaller_n(
    value: Callable[[Sequence[Made]], float], groups: Sequence[Made], images: int, more_than: int
) -> tuple[tuple[int, float], ...]:
    """Return pairs of a smaller n and the mean value over disjoint parts of nearly that size.

    Args:
        value: computes the value from some of the groups.
        groups: of nearly equal size.
        images: n of all groups.
        more_than: parts of so few images have no value.
    """
    found: list[tuple[int, float]] = []
    for parts in PARTS:
        if parts <= len(groups) and images // parts > more_than:
            cuts = np.linspace(0, len(groups), parts + 1).round().astype(int)
            values = [value(groups[a:b]) for a, b in itertools.pairwise(cuts)]
            found.append((images // parts, math.fsum(values) / parts))
    return tuple(found)


def jackknife(value: Callable[[Sequence[Any]], float], groups: Sequence[Any]) -> float | None:
    """Return the standard error of a value by the jackknife (Efron 1982, chapter 3).

    Args:
        value: computes the value from some of the groups.
        groups: groups of nearly equal size.

    Returns:
        The standard error; None for fewer than two groups, or if it is not finite.
    """
    count = len(groups)
    if count < 2:
        return None
    without = [value([*groups[:i], *groups[i + 1 :]]) for i in range(count)]
    mean = math.fsum(without) / count
    error = math.sqrt((count - 1) / count * math.fsum((one - mean) ** 2 for one in without))
    return error if math.isfinite(error) else None


def statistics_of(features: Tensor) -> Statistics:
    """Compute the mean and covariance of features [N, F], N >= 2."""
    found = features.double()
    return Statistics(found.mean(0), found.T.cov(), len(found))


def spread_of(real: RealImages, features: Tensor) -> float | None:
    """Return the total variance of features [n, F] over that of the real images.

    None if it is not finite.
    """
    own = features.double().var(0).sum()
    ratio = float(own / real.statistics.covariance.trace())
    return ratio if math.isfinite(ratio) else None
