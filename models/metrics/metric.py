"""What a metric is: from the features of generated images, and of real ones, to a number with its
error. Lower is better for every metric here.

Images come in batches, and in groups: each a fair sample of the whole (equal numbers a class), so
that the groups' differences tell the number's error. A metric keeps of a batch what it needs (its
*part*), parts are added, and an estimate is made from the parts of the groups. B: images of a
batch, F: features an image, N: real images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from models.hashes import numbers_hash
from models.metrics.anchors import Halves
from models.metrics.frechet import Statistics
from search.names import is_metric_name
from search.plugins import Registry

Made = TypeVar("Made")

GROUPS = 20
"""How many groups are worth having: more give the standard error no more weight."""


class RealImages:
    """The real images that generated ones are compared with.

    Attributes:
        statistics: mean and covariance of their features.
        features: of them or of a sample, [N, F]; None where only the statistics are known.
        halves: what one half of them has against the other in FID; None where nobody says.
    """

    def __init__(
        self, statistics: Statistics, features: Tensor | None = None, halves: Halves | None = None
    ) -> None:
        self.statistics, self.features, self.halves = statistics, features, halves
        self._once: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Whether the features are of all the images that the statistics are of."""
        return self.features is not None and len(self.features) == self.statistics.images

    def known(self) -> Tensor:
        """Their features.

        Raises:
            ValueError: only the statistics are known.
        """
        if self.features is None:
            raise ValueError("the real images' features are not known, only their statistics")
        return self.features

    def once(self, name: str, make: Callable[[Tensor], Made]) -> Made:
        """What a metric derives from the real features alone: made when it is first asked for by
        that name, and kept.

        Raises:
            ValueError: the features are not known.
        """
        if name not in self._once:
            self._once[name] = make(self.known())
        found: Made = self._once[name]
        return found

    def to(self, device: str | torch.device) -> RealImages:
        """These on a device; the same object where they are there."""
        statistics = self.statistics.to(device)
        if statistics is self.statistics:
            return self
        features = None if self.features is None else self.features.to(device)
        return RealImages(statistics, features, self.halves)

    def hash(self, with_features: bool = False) -> str:
        """SHA-256 of the statistics' numbers, or of the features'."""
        if with_features and self.features is not None:
            return numbers_hash(self.features)
        return self.statistics.hash()


class Part(Protocol):
    """What a metric keeps of some images."""

    def __add__(self, other: Self, /) -> Self:
        """Of both images'."""


@dataclass(frozen=True)
class KeptFeatures:
    """A part for metrics that need the features themselves; [B, F], where they were computed."""

    features: Tensor

    def __add__(self, other: KeptFeatures) -> KeptFeatures:
        return KeptFeatures(torch.cat([self.features, other.features]))


@dataclass(frozen=True)
class Estimate:
    """A metric of n images.

    Attributes:
        value: of all images.
        standard_error: of it, for other images of the same generator against the same real ones;
            None where the groups do not tell.
        value_at: (n, value of n images) for smaller n, falling n, each the mean over disjoint
            parts; nothing for a metric that does not depend on n.
        spread: how much the images differ from each other: the total variance of their features
            over that of the real images'; None where the metric does not say.
    """

    value: float
    standard_error: float | None = None
    value_at: tuple[tuple[int, float], ...] = ()
    spread: float | None = None


@runtime_checkable
class Metric(Protocol):
    """A number that says how far generated images are from real ones; lower is better.

    Attributes:
        name: labels the number wherever it stands: small letters, digits, `-` and `_`.
        error: how the standard error is made, in one sentence.
        may_be_negative: whether a value below 0 is possible.
        needs_real_features: whether the real images' statistics do not suffice.

    Example: the share of real images that have no generated one within their reach ("1 - recall"
        of Kynkäänniemi et al. 2019, with one neighbour).

        >>> def reach(real: Tensor) -> Tensor:
        ...     return torch.cdist(real, real).fill_diagonal_(torch.inf).amin(1)
        >>> class Missed:
        ...     name = "missed"
        ...     error = "The jackknife's, over groups of the generated images."
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
    error: str
    may_be_negative: bool
    needs_real_features: bool

    def images_needed(self, features: int) -> tuple[int, int | None]:
        """The fewest images that it takes, and the most (None: any), for F features an image."""

    def part(self, features: Tensor) -> Any:
        """What it keeps of a batch of generated images' features [B, F], on their device. Parts
        are added by `+`, and say nothing of the images' order."""

    def estimate(self, real: RealImages, groups: Sequence[Any]) -> Estimate:
        """The number, from the parts of one or more groups; all on one device.

        The value is not finite where the features are not.
        """


@runtime_checkable
class Anchored(Protocol):
    """A metric that says what its numbers are worth."""

    def of_real_images(self, real: RealImages, images: int) -> float | None:
        """Of so many real images, drawn anew; None where it is not known."""

    def of_constant_image(self, real: RealImages, features: Tensor) -> float | None:
        """Of images that are all alike and have these features [F]; None where it is not known."""


METRICS: Registry[Callable[[], Metric]] = Registry(
    "metric",
    {
        "fid": "models.metrics.fid:FID",
        "kid": "models.metrics.kid:KID",
        "mmd": "models.metrics.mmd:MMD",
    },
)


def load_metric(name: str) -> Metric:
    """A metric by name: ours, a package's, or `package.module:Class`.

    Raises:
        ValueError: there is none, or it is no metric.
    """
    found = METRICS.load(name)()
    if not isinstance(found, Metric):
        lacking = [word for word in _required() if not hasattr(found, word)]
        raise ValueError(f"metric {name}: {type(found).__name__} lacks {', '.join(lacking)}")
    if not is_metric_name(found.name):
        raise ValueError(
            f"metric {name}: its name {found.name!r} is not of small letters, digits, - and _"
        )
    return found


def _required() -> list[str]:
    attributes = [word for word in Metric.__annotations__ if not word.startswith("_")]
    return [*attributes, "images_needed", "part", "estimate"]


def jackknife(value: Callable[[Sequence[Any]], float], groups: Sequence[Any]) -> float | None:
    """The standard error of a value by its change when one group is left out (Efron 1982,
    chapter 3); None for fewer than two groups.

    Args:
        value: of the groups that are left.
        groups: of near equal size.
    """
    count = len(groups)
    if count < 2:
        return None
    without = [value([*groups[:i], *groups[i + 1 :]]) for i in range(count)]
    mean = math.fsum(without) / count
    error = math.sqrt((count - 1) / count * math.fsum((one - mean) ** 2 for one in without))
    return error if math.isfinite(error) else None


def statistics_of(features: Tensor) -> Statistics:
    """Mean and covariance of features [N, F], N >= 2."""
    found = features.double()
    return Statistics(found.mean(0), found.T.cov(), len(found))


def spread_of(real: RealImages, features: Tensor) -> float | None:
    """The total variance of features [n, F] over that of the real images'; None where it is not
    finite."""
    own = features.double().var(0).sum()
    ratio = float(own / real.statistics.covariance.trace())
    return ratio if math.isfinite(ratio) else None
