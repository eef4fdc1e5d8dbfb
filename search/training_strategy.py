"""A training strategy: the distribution of the mask ratio that a generator sees in training.

See AutoNAT, section 4.1. A package adds a `Distribution` of its own under the entry point group
`autonat.distributions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from search.bound import Bound
from search.plugins import Registry
from search.reading import read_number, shown

Ratios = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """A family of distributions of the mask ratio r in [0, 1].

    Example:
        >>> power = Distribution(
        ...     parameters={"power": Bound(0.1, 10.0, log=True)},
        ...     quantile=lambda uniforms, power: uniforms**power,
        ...     start={"power": 1.0},
        ... )
        >>> _ = DISTRIBUTIONS.register("power")(power)
        >>> strategy = TrainingStrategy("power", {"power": 2.0})
        >>> strategy.mask_ratios(np.array([0.0, 0.5])).tolist()
        [0.0, 0.25]

    Attributes:
        parameters: the range that a search tries, by name of the parameter. On a log scale any
            finite value > 0 is legal even outside this range; on a linear scale only values within
            it are.
        quantile: the inverse of the cumulative distribution function: takes uniforms in [0, 1), of
            any shape, and the parameters by keyword; returns ratios in [0, 1].
        start: the value of each parameter that a search starts from.
    """

    parameters: Mapping[str, Bound]
    quantile: Callable[..., Ratios]
    start: Mapping[str, float]

    def check(self, name: str, value: Any, bound: Bound | None = None) -> float:
        """Return the value of a parameter as a float.

        Args:
            name: the name of the parameter; if `bound` is given, any words for error lines.
            value: the value to check.
            bound: the range of the parameter; by default that of the parameter `name`.

        Raises:
            ValueError: the value is not a number, or is not legal.
        """
        number, bound = read_number(name, value), bound or self.parameters[name]
        if bound.log and number <= 0:
            raise ValueError(f"{name} = {value!r} is not positive")
        if not bound.log and not bound.low <= number <= bound.high:
            raise ValueError(f"{name} = {value!r} is outside [{bound.low:g}, {bound.high:g}]")
        return number


def _beta(uniforms: Ratios, alpha: float, beta: float) -> Ratios:
    from scipy.stats import beta as distribution  # takes over a second to import

    return np.asarray(distribution.ppf(uniforms, alpha, beta), dtype=np.float64)


def _cosine(uniforms: Ratios) -> Ratios:
    return np.cos(uniforms * np.pi / 2)


def _uniform(uniforms: Ratios) -> Ratios:
    return uniforms


def _truncated_normal(uniforms: Ratios, mean: float, deviation: float) -> Ratios:
    from scipy.stats import truncnorm

    low, high = -mean / deviation, (1 - mean) / deviation
    found = truncnorm.ppf(uniforms, low, high, loc=mean, scale=deviation)
    return np.clip(np.asarray(found, dtype=np.float64), 0.0, 1.0)


BUILT_IN = {
    "cosine": Distribution({}, _cosine, {}),
    "uniform": Distribution({}, _uniform, {}),
    "beta": Distribution(
        {"alpha": Bound(0.3, 30.0, log=True), "beta": Bound(0.3, 30.0, log=True)},
        _beta,
        {"alpha": 2.0, "beta": 1.0},  # its mean, 0.67, is about the cosine's
    ),
    "truncated-normal": Distribution(
        {"mean": Bound(0.0, 1.0), "deviation": Bound(0.03, 3.0, log=True)},
        _truncated_normal,
        {"mean": 0.65, "deviation": 0.3},
    ),
}
DISTRIBUTIONS: Registry[Distribution] = Registry(
    "distribution", BUILT_IN, setting="mask_ratio_distribution"
)
"""All distributions by name. With u uniform in [0, 1), "cosine" is MaskGIT's r = cos(pi/2 u) and
"uniform" is r = u; "beta" is AutoNAT's Beta(alpha, beta); "truncated-normal" is a normal
distribution restricted to [0, 1]."""


def distribution(name: Any) -> Distribution:
    """Return the distribution of that name.

    Raises:
        ValueError: the name is unknown; the known names are listed.
    """
    found = DISTRIBUTIONS.load(name)
    if not isinstance(found, Distribution):
        source = DISTRIBUTIONS.sources().get(name, name)
        raise ValueError(f"mask_ratio_distribution {name}: expected a Distribution, got {source}")
    return found


@dataclass(frozen=True)
class TrainingStrategy:
    """The distribution of the mask ratio r seen in training.

    Attributes:
        mask_ratio_distribution: the name of a distribution.
        values: the values of all its parameters, by name.

    Raises:
        ValueError: the distribution is unknown, or a parameter is missing, unknown or not legal.
    """

    mask_ratio_distribution: str
    values: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        name, known = self.mask_ratio_distribution, distribution(self.mask_ratio_distribution)
        for parameter, value in self.values.items():
            if parameter not in known.parameters:
                has = ", ".join(known.parameters) or "none"
                raise ValueError(
                    f"{parameter} = {value!r} is not a parameter of the {name} distribution; it "
                    f"has: {has}"
                )
        checked = {}
        for parameter in known.parameters:
            if parameter not in self.values:
                raise ValueError(f"the {name} distribution needs {parameter}")
            checked[parameter] = known.check(parameter, self.values[parameter])
        object.__setattr__(self, "values", checked)

    def mask_ratios(self, uniforms: Ratios) -> Ratios:
        """Turn uniforms in [0, 1), of any shape, into mask ratios in [0, 1]."""
        return distribution(self.mask_ratio_distribution).quantile(uniforms, **self.values)

    def parameters(self) -> dict[str, float]:
        """Return the values by name, as in Optuna and MLflow."""
        return dict(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the `training` part of the strategy file."""
        return {"mask_ratio_distribution": self.mask_ratio_distribution, **self.values}

    @classmethod
    def from_json(cls, data: Any) -> TrainingStrategy:
        """Make a strategy from a JSON object: the inverse of `to_json`. Nulls are ignored.

        Raises:
            ValueError: a field is missing, unknown or not valid; the line names it.
        """
        if not isinstance(data, dict) or "mask_ratio_distribution" not in data:
            raise ValueError(
                f"training: expected an object with the field mask_ratio_distribution, got "
                f"{shown(data)}"
            )
        values = {k: v for k, v in data.items() if k != "mask_ratio_distribution" and v is not None}
        return cls(data["mask_ratio_distribution"], values)

    def __str__(self) -> str:
        """Format the strategy for people, such as "beta(alpha=12, beta=3)"."""
        inside = ", ".join(f"{name}={value:.4g}" for name, value in self.values.items())
        return self.mask_ratio_distribution + (f"({inside})" if inside else "")
