"""A training strategy: the distribution of the mask ratio that a NAT sees in training.

AutoNAT, section 4.1. The family is open: a package adds a distribution of its own under the entry
point group `autonat.distributions`, as a `Distribution` by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from search.bound import Bound
from search.plugins import Registry
from search.reading import read_number

Ratios = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """A family of distributions of the mask ratio r in [0, 1].

    Attributes:
        parameters: by name, the range that a search takes. On a log scale any finite value > 0 is
            legal beside it, else only what lies within.
        quantile: the inverse of the cumulative distribution: from uniforms in [0, 1), of any
            shape, and the parameters by keyword, to ratios in [0, 1].
        start: where a search starts, by parameter.
    """

    parameters: Mapping[str, Bound]
    quantile: Callable[..., Ratios]
    start: Mapping[str, float]

    def check(self, name: str, value: Any, bound: Bound | None = None) -> float:
        """A parameter's value as a number.

        Args:
            name: of the parameter; with `bound`, any words for it.
            value: what was given.
            bound: of the parameter.

        Raises:
            ValueError: not a number, or not legal.
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


DISTRIBUTIONS: Registry[Distribution] = Registry(
    "distribution",
    {
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
    },
    setting="mask_ratio_distribution",
)
"""MaskGIT's r = cos(pi/2 u), u uniform; r = u; AutoNAT's Beta(alpha, beta); a normal distribution
cut to [0, 1]."""


def distribution(name: Any) -> Distribution:
    """The distribution of that name.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    found = DISTRIBUTIONS.load(name)
    if not isinstance(found, Distribution):
        source = DISTRIBUTIONS.sources().get(name, name)
        raise ValueError(f"mask_ratio_distribution {name}: {source} is not a Distribution")
    return found


@dataclass(frozen=True)
class TrainingStrategy:
    """The distribution of the mask ratio r seen in training.

    Attributes:
        mask_ratio_distribution: the name of a distribution.
        values: of its parameters, each of them, by name.

    Raises:
        ValueError: an unknown distribution, or a parameter that is missing, unknown or not legal.
    """

    mask_ratio_distribution: str
    values: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        name, known = self.mask_ratio_distribution, distribution(self.mask_ratio_distribution)
        for parameter, value in self.values.items():
            if parameter not in known.parameters:
                has = ", ".join(known.parameters) or "none"
                raise ValueError(
                    f"{parameter} = {value!r} is no parameter of the {name} distribution; it has: "
                    f"{has}"
                )
        checked = {}
        for parameter in known.parameters:
            if parameter not in self.values:
                raise ValueError(f"the {name} distribution needs {parameter}")
            checked[parameter] = known.check(parameter, self.values[parameter])
        object.__setattr__(self, "values", checked)

    def mask_ratios(self, uniforms: Ratios) -> Ratios:
        """Mask ratios in [0, 1] from uniforms in [0, 1), by inverse transform; any shape."""
        return distribution(self.mask_ratio_distribution).quantile(uniforms, **self.values)

    def parameters(self) -> dict[str, float]:
        """The values by name, as in Optuna and MLflow."""
        return dict(self.values)

    def to_json(self) -> dict[str, Any]:
        """The `training` part of the strategy file."""
        return {"mask_ratio_distribution": self.mask_ratio_distribution, **self.values}

    @classmethod
    def from_json(cls, data: Any) -> TrainingStrategy:
        """The inverse of `to_json`; a parameter that is null is none.

        Raises:
            ValueError: a field is missing, unknown, or not valid; the line names it.
        """
        if not isinstance(data, dict) or "mask_ratio_distribution" not in data:
            raise ValueError(f"training must be an object with mask_ratio_distribution, not {data}")
        values = {k: v for k, v in data.items() if k != "mask_ratio_distribution" and v is not None}
        return cls(data["mask_ratio_distribution"], values)

    def __str__(self) -> str:
        """As people write it: Beta(12, 3) is beta(alpha=12, beta=3)."""
        inside = ", ".join(f"{name}={value:.4g}" for name, value in self.values.items())
        return self.mask_ratio_distribution + (f"({inside})" if inside else "")
