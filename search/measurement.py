"""The result of measuring a strategy once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from search.gradient import Gradient

LABELS = {
    "fid": "FID",
    "fid-infinity": "FID∞",
    "fid-leading": "leading FID",
    "kid": "KID",
    "mmd": "MMD",
}
FORMER_NAMES = {"fid": "value", "fid_se": "standard_error", "fid_at": "value_at"}
"""The names that fields had when FID was the only metric, and their present names."""


@dataclass(frozen=True)
class Measurement:
    """The result of measuring one strategy once.

    Attributes:
        value: the value of the metric; lower is better. Not finite if the generator diverged.
        standard_error: the standard error of the value, or None if the objective gives none.
        images: n, the number of images generated.
        forward_passes: network passes for each image (in all: images * forward_passes).
        seconds: wall time in seconds.
        value_at: pairs (n, value of n images) for smaller n of the same images; may be empty. FID
            falls with n, so only values at equal n compare.
        training_steps: how long the model was trained for this measurement; 0 if it was given.
        validation_loss: the validation loss of the trained model, or None.
        checkpoint: the hash of the trained model's weights, or None.
        spread: how much the images differ from each other: the total variance of their features
            over that of the real images, or None if the objective does not say.
        metric: the name of the metric ("fid"); only values of the same metric compare.
        ceiling: the floating-point operations per second that large matrix products reach on the
            GPU that measured, in the precision of the tokens; None on a CPU.
        gradient: how the value changes with the strategy's values; None if it was not asked for.
    """

    value: float
    standard_error: float | None
    images: int
    forward_passes: int
    seconds: float
    value_at: tuple[tuple[int, float], ...] = ()
    training_steps: int = 0
    validation_loss: float | None = None
    checkpoint: str | None = None
    spread: float | None = None
    metric: str = "fid"
    ceiling: float | None = None
    gradient: Gradient | None = None

    def __new__(cls, *values: Any, **named: Any) -> Measurement:
        """Refuse the former names of fields, and say what they are called now."""
        for former in FORMER_NAMES.keys() & named.keys():
            raise TypeError(f"Measurement({former}=...) is now {FORMER_NAMES[former]}=...")
        return super().__new__(cls)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Make a measurement from the JSON of `dataclasses.asdict`; former names are read too."""
        now = {FORMER_NAMES.get(name, name): value for name, value in data.items()}
        now["value_at"] = tuple((int(n), float(v)) for n, v in now["value_at"])
        if now.get("gradient") is not None:
            now["gradient"] = Gradient.from_json(now["gradient"])
        return cls(**now)

    @property
    def finite(self) -> bool:
        """Whether the value is a number that can be ranked."""
        return math.isfinite(self.value)

    @property
    def value_infinite(self) -> float | None:
        """The value extrapolated to infinite n; None if there are no values at smaller n.

        It is where a straight line fitted to the values over 1/n meets 1/n = 0 (Chong and Forsyth
        2020, "Effectively unbiased FID").
        """
        if not self.value_at:
            return None
        points = [(self.images, self.value), *self.value_at]
        _, end = np.polyfit([1 / n for n, _ in points], [value for _, value in points], 1)
        return float(end)


class AtImages(NamedTuple):
    """The value of a strategy with one number of images.

    Attributes:
        images: n; infinite for the extrapolated value.
        value: the mean over seeds.
        standard_error: of that mean, from the spread over seeds; None for one seed.
    """

    images: float
    value: float
    standard_error: float | None


def over_images(measured: Sequence[Measurement]) -> tuple[AtImages, ...]:
    """Return the values of one strategy at each n, from measurements with several seeds.

    Returns:
        The values by falling n, the extrapolated one first. An n that not all measurements have is
        left out. Empty if there are no values at smaller n.
    """
    found: dict[float, list[float]] = {}
    for one in measured:
        if one.value_infinite is not None:
            points = [(math.inf, one.value_infinite), (one.images, one.value), *one.value_at]
            for n, value in points:
                found.setdefault(n, []).append(value)
    return tuple(
        AtImages(n, math.fsum(found[n]) / len(found[n]), error_of_mean(found[n]))
        for n in sorted(found, reverse=True)
        if len(found[n]) == len(measured)
    )


def error_of_mean(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of values; None for fewer than two."""
    if len(values) < 2:
        return None
    if len(set(values)) == 1:
        return 0.0  # rounding would give a little more
    mean = math.fsum(values) / len(values)
    apart = [value - mean for value in values]
    variance = math.fsum(one * one for one in apart) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def with_metric(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol with its metric; a protocol without one is from when all were FID."""
    return {"metric": "fid"} | dict(protocol)


UNSET_STAGES = "; pixels default; features default"
"""The end of a protocol's precision where only that of the tokens was chosen."""


def with_precision(protocol: Mapping[str, Any], settings: object) -> dict[str, Any]:
    """Return a protocol with its precision.

    One of generated images without a precision is from when only that of the tokens could be
    chosen, by the objective's setting `precision`.

    Args:
        protocol: as it was recorded.
        settings: those of the objective.
    """
    if "precision" in protocol:
        return dict(protocol)
    named = settings.get("precision", "float32") if isinstance(settings, Mapping) else "float32"
    known = protocol.get("features_hash") is not None and isinstance(named, str)
    return dict(protocol) | {"precision": f"tokens {named}{UNSET_STAGES}" if known else None}


def metric_label(metric: str) -> str:
    """Return the label of a metric for people: "FID" for "fid"; a user's metric keeps its name."""
    return LABELS.get(metric, metric)


@dataclass(frozen=True)
class Failure:
    """An evaluation that gave no number; `reason` says why, in one line."""

    reason: str
