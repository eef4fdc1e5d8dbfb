"""The number to report for a strategy: its final test, and that of a control beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from search.measurement import error_of_mean
from search.names import require_distinct
from search.optimiser import FIRST_SEARCH_SEED
from search.reading import require_fields, shown

TEST_FIELDS = (
    "metric",
    "value",
    "standard_error",
    "values",
    "images",
    "seeds",
    "forward_passes",
)


def require_test_seeds(where: str, seeds: Iterable[int]) -> None:
    """Refuse seeds of a test that are no seeds, occur twice or are those of searches.

    Args:
        where: the flag or setting of the seeds, for the error line.
        seeds: the seeds.

    Raises:
        ValueError: a seed is not a whole number in [0, FIRST_SEARCH_SEED), or occurs twice.
    """
    seeds = list(seeds)
    for seed in seeds:
        if not is_count(seed) or seed >= FIRST_SEARCH_SEED:
            why = "; searches use larger ones" if is_count(seed) else ""
            raise ValueError(f"{where}: expected seeds in [0, 2**31), got {shown(seed)}{why}")
    require_distinct(where, seeds)


def require_images(images: object) -> None:
    """Refuse a number of images that is not a whole one above 0.

    Raises:
        ValueError: it is not.
    """
    if not (is_count(images) and images):
        raise ValueError(f"images: expected a whole number above 0, got {shown(images)}")


@dataclass(frozen=True)
class FinalTest:
    """The number to report for a strategy: measured on seeds that the search never saw.

    Attributes:
        value: the mean over the seeds.
        standard_error: the standard error of that mean, from the spread over the seeds; for one
            seed, the one that the measurement itself gives. None if it is unknown.
        values: the value of each seed.
        images: n, the number of images generated for each seed.
        seeds: the seeds of the evaluations.
        forward_passes: network passes for each image.
        metric: the name of the metric ("fid").

    Raises:
        ValueError: a value is not finite, the error is negative, the numbers of values and seeds
            differ, a seed occurs twice, the value is not the mean, or there are no images.
    """

    value: float
    standard_error: float | None
    values: tuple[float, ...]
    images: int
    seeds: tuple[int, ...]
    forward_passes: int
    metric: str = "fid"

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not is_number(self.value):
            raise ValueError(f"test.value = {shown(self.value)} is not a finite number")
        error = self.standard_error
        if error is not None and not (is_number(error) and error >= 0):
            raise ValueError(f"test.standard_error = {shown(error)} is not a finite number >= 0")
        if not self.seeds or len(self.values) != len(self.seeds):
            raise ValueError(
                f"expected one value in test.values for each of the {len(self.seeds)} seeds, "
                f"got {len(self.values)}"
            )
        if not isinstance(self.metric, str) or not self.metric:
            raise ValueError(f"test.metric = {shown(self.metric)} is not the name of a metric")
        for name in ("images", "forward_passes"):
            if not is_count(getattr(self, name)) or getattr(self, name) < 1:
                raise ValueError(
                    f"test.{name} = {shown(getattr(self, name))} is not a positive integer"
                )
        for i, value in enumerate(self.values):
            if not is_number(value):
                raise ValueError(f"test.values[{i}] = {shown(value)} is not a finite number")
        for i, seed in enumerate(self.seeds):
            if not is_count(seed):
                raise ValueError(f"test.seeds[{i}] = {shown(seed)} is not an integer >= 0")
        require_distinct("test.seeds", self.seeds)
        mean = fmean(self.values)
        if not math.isclose(self.value, mean, rel_tol=0.01, abs_tol=1e-9):  # one may be rounded
            raise ValueError(
                f"test.value = {self.value} is not the mean of test.values, which is {mean}"
            )

    @property
    def standard_error_from(self) -> str | None:
        """The source of `standard_error` (see `error_from`)."""
        return error_from(self.standard_error, self.seeds)

    @classmethod
    def of(
        cls,
        values: Mapping[int, float],
        images: int,
        forward_passes: int,
        stated: float | None = None,
        metric: str = "fid",
    ) -> FinalTest:
        """Make a final test from the value of each seed.

        Args:
            values: the values by seed.
            images: n, the number of images of each seed.
            forward_passes: network passes for each image.
            stated: the standard error that the measurement itself gives; used if there is only one
                seed.
            metric: the name of the metric.

        Raises:
            ValueError: a value is not finite.
        """
        by_seed = tuple(values.values())
        mean = math.fsum(by_seed) / len(by_seed)
        error = stated if len(by_seed) == 1 else error_of_mean(by_seed)
        return cls(mean, error, by_seed, images, tuple(values), forward_passes, metric)

    def to_json(self) -> dict[str, Any]:
        """Return the `test` part of the strategy file."""
        return {
            "metric": self.metric,
            "value": self.value,
            "standard_error": self.standard_error,
            "values": list(self.values),
            "images": self.images,
            "seeds": list(self.seeds),
            "forward_passes": self.forward_passes,
        }

    def printed(self) -> dict[str, Any]:
        """Return the test as the commands print it as JSON, with the names of former versions."""
        return {
            "metric": self.metric,
            "fid": self.value,
            "fid_se": self.standard_error,
            "fids": list(self.values),
            "images": self.images,
            "seeds": list(self.seeds),
            "forward_passes": self.forward_passes,
            "fid_se_from": self.standard_error_from,
        }


def error_from(standard_error: float | None, seeds: Sequence[int]) -> str | None:
    """Return the source of a final test's standard error.

    Returns:
        "seeds" if it is from the spread over seeds, "measurement" if the only measurement gives it,
        or None if there is none.
    """
    if standard_error is None:
        return None
    return "seeds" if len(seeds) > 1 else "measurement"


@dataclass(frozen=True)
class Control:
    """A strategy that needs no search, and that the found strategy has to beat.

    Attributes:
        name: the name of the control.
        test: its final test, with the same n and seeds as the test of the found strategy.
    """

    name: str
    test: FinalTest

    def to_json(self) -> dict[str, Any]:
        """Return a `baseline` or `best_control` part of the strategy file."""
        return {"name": self.name, "test": self.test.to_json()}


def read_final_test(where: str, data: Any) -> FinalTest:
    """Read a final test from JSON.

    Raises:
        ValueError: a field is missing, unknown or not valid; it is named, after `where`.
    """
    checked = require_fields(where, data, TEST_FIELDS)
    for name in ("values", "seeds"):
        if not isinstance(checked[name], list):
            raise ValueError(f"{where}.{name} = {shown(checked[name])} is not a list")
    return FinalTest(**checked)


def read_control(where: str, data: Any) -> Control | None:
    """Read a control from JSON; None stays None.

    Raises:
        ValueError: a field is missing, unknown or not valid; it is named, after `where`.
    """
    if data is None:
        return None
    part = require_fields(where, data, ("name", "test"))
    if not isinstance(part["name"], str):
        raise ValueError(f"{where}.name = {part['name']!r} is not a string")
    try:
        return Control(part["name"], read_final_test("test", part["test"]))
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """Whether a JSON value is an integer >= 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
