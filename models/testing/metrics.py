"""The conformance suite of metrics: it checks the promises of `models.metrics.metric.Metric`.

    def test_my_metric() -> None:
        check_metric(MyMetric())

The checks use Gaussian features, and need no images.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from models.metrics.metric import (
    GROUPS,
    Estimate,
    Metric,
    RealImages,
    required_members,
    statistics_of,
)
from models.precision import device
from search.conformance import require
from search.names import is_metric_name

FEATURES = 6
"""The number of features per image in the checks."""
REAL_IMAGES = 300
NOISE = (0.0, 0.5, 1.0, 2.0)
"""Standard deviations of noise added to the features, which have standard deviation 1."""


def check_metric(metric: Metric, *, repeats: int = 60, error_within: float = 0.4) -> None:
    """Check all that measuring requires of a metric, with Gaussian features.

    The checks run on the device of this process.

    Args:
        metric: the metric.
        repeats: how many draws of images are made, to compare the spread of the values with the
            standard error that the metric gives.
        error_within: by which share of the spread the mean standard error may differ from it.

    Raises:
        AssertionError: a check fails; the message says what was expected and what was found.
    """
    _check_declaration(metric)
    features = _draw_features(REAL_IMAGES, 0)
    real = RealImages(statistics_of(features), features if metric.needs_real_features else None)
    images = _suitable_number(metric)
    found = _estimate(metric, real, _draw_features(images, 1))
    _check_numbers(metric, found, images)
    _check_real_images_are_near(metric, real, features)
    _check_noise(metric, real, images)
    _check_groups(metric, real, images, found)
    _check_special_inputs(metric, real, images, found)
    _check_error(metric, real, images, repeats, error_within)


def _check_declaration(metric: Metric) -> None:
    lacking = ", ".join(word for word in required_members() if not hasattr(metric, word))
    require(not lacking, f"the metric {type(metric).__name__} lacks {lacking}")
    require(
        is_metric_name(metric.name),
        f"name = {metric.name!r}, expected only lower-case letters, digits, '-' and '_'",
    )
    for name in ("may_be_negative", "needs_real_features"):
        value = getattr(metric, name)
        require(isinstance(value, bool), f"{name} = {value!r}, expected True or False")
    for features in (1, FEATURES, 2048):
        fewest, most = metric.images_needed(features)
        fits = type(fewest) is int and fewest >= 1 and (most is None or most >= fewest)
        require(
            fits,
            f"images_needed({features}) = {(fewest, most)}, expected (smallest n, largest n)",
        )


def _check_numbers(metric: Metric, found: Estimate, images: int) -> None:
    for name in ("value", "standard_error", "spread"):
        value = getattr(found, name)
        known = type(value) is float or (value is None and name != "value")
        require(known, f"the estimate's {name} is {value!r}, expected a Python float")
    require(
        math.isfinite(found.value), f"the value of finite features is {found.value}, not finite"
    )
    smaller = [n for n, _ in found.value_at]
    falling = smaller == sorted(set(smaller), reverse=True)
    require(
        falling and all(0 < n < images for n in smaller),
        f"value_at has n = {smaller}, expected falling numbers below {images}",
    )


def _check_real_images_are_near(metric: Metric, real: RealImages, features: Tensor) -> None:
    same = _estimate(metric, real, features).value
    far = _estimate(metric, real, features + 3).value
    require(
        same < far,
        f"expected a lower value for the real images than for shifted ones, got {same:g} and "
        f"{far:g}",
    )
    require(
        abs(same) <= 0.05 * abs(far),
        f"expected a value of about 0 for the real images themselves, got {same:g}; shifted ones "
        f"have {far:g}",
    )
    low = min(same, far)
    allowed = metric.may_be_negative or low > -1e-6
    require(allowed, f"may_be_negative is False, but a value is {low:g}")


def _check_noise(metric: Metric, real: RealImages, images: int) -> None:
    values = [_estimate(metric, real, _draw_features(images, 1, noise)).value for noise in NOISE]
    grows = values == sorted(values) and values[-1] > values[0]
    shown = ", ".join(f"{v:g}" for v in values)
    require(grows, f"expected values that grow with noise, got {shown}")


def _check_groups(metric: Metric, real: RealImages, images: int, found: Estimate) -> None:
    """Check that neither the order of images nor their division into batches matters."""
    made = _draw_features(images, 1)
    groups = list(torch.tensor_split(made, GROUPS))
    turned = [metric.part(group.flip(0)) for group in reversed(groups)]
    _require_close("the images in another order", metric.estimate(real, turned), found)
    halves = [torch.tensor_split(group, 2) for group in groups]
    added = [metric.part(one) + metric.part(other) for one, other in halves]
    _require_close("parts that were added", metric.estimate(real, added), found)
    alone = metric.estimate(real, [metric.part(made)])
    _require_close("all images in one group", alone, found)


def _check_special_inputs(metric: Metric, real: RealImages, images: int, found: Estimate) -> None:
    """Check the CPU, float32, features that are not finite, the smallest n, and a pickled copy."""
    single = metric.estimate(real.to("cpu"), _parts_of(metric, _draw_features(images, 1).cpu()))
    _require_close("the CPU", single, found)
    floats = real.features.float() if real.features is not None else None
    half = RealImages(real.statistics, floats)
    _require_close(
        "float32 features", _estimate(metric, half, _draw_features(images, 1).float()), found, 1e-3
    )
    broken = _draw_features(images, 1)
    broken[images // 2, 0] = math.nan
    value = _estimate(metric, real, broken).value
    require(
        not math.isfinite(value),
        f"features that are not finite have the value {value:g}, expected NaN or infinity",
    )
    fewest, _ = metric.images_needed(FEATURES)
    few = metric.estimate(real, [metric.part(_draw_features(fewest, 1))])
    require(
        math.isfinite(few.value),
        f"expected a finite value for the smallest n = {fewest}, got {few.value}",
    )
    copy: Metric = pickle.loads(pickle.dumps(metric))
    _require_close("a copy by pickle", _estimate(copy, real, _draw_features(images, 1)), found)


def _check_error(
    metric: Metric, real: RealImages, images: int, repeats: int, within: float
) -> None:
    found = [_estimate(metric, real, _draw_features(images, 100 + i, 0.5)) for i in range(repeats)]
    stated = [one.standard_error for one in found if one.standard_error is not None]
    if not stated:
        return
    require(
        len(stated) == repeats,
        f"expected a standard error of all {repeats} estimates or none, got {len(stated)}",
    )
    spread, mean = stdev(one.value for one in found), fmean(stated)
    require(
        abs(mean - spread) <= within * spread,
        f"the mean standard error is {mean:g}, but the values of {repeats} draws have a standard "
        f"deviation of {spread:g}",
    )


def _suitable_number(metric: Metric) -> int:
    """Return a number of images that fills the groups and that the metric accepts."""
    fewest, most = metric.images_needed(FEATURES)
    return min(max(300, GROUPS * fewest), most or 10**6)


def _estimate(metric: Metric, real: RealImages, features: Tensor) -> Estimate:
    found = metric.estimate(real, _parts_of(metric, features))
    require(
        isinstance(found, Estimate),
        f"expected estimate() to return an Estimate, got {type(found).__name__}",
    )
    return found


def _parts_of(metric: Metric, features: Tensor) -> Sequence[object]:
    return [metric.part(group) for group in torch.tensor_split(features, GROUPS)]


def _draw_features(images: int, seed: int, noise: float = 0.0) -> Tensor:
    """Draw features [n, FEATURES] of unit variance, and add noise."""
    random = torch.Generator().manual_seed(seed)
    found, more = torch.randn((2, images, FEATURES), generator=random, dtype=torch.float64)
    noisy: Tensor = found + noise * more
    return noisy.to(device())


def _require_close(what: str, found: Estimate, expected: Estimate, relative: float = 1e-5) -> None:
    close = math.isclose(found.value, expected.value, rel_tol=relative, abs_tol=1e-9)
    require(close, f"with {what} the value is {found.value!r}, expected {expected.value!r}")
