"""The strategy file (JSON, "autonat-strategy/2"): a schedule with all that its number depends on.

Its schema is published beside this module as strategy.schema.json. Every field is written; what
does not apply is null, so that a file never leaves open whether something was forgotten. Files of
"autonat-strategy/1" are read as well (search.strategy_format_1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from search.choices import CHOICES
from search.files import write_text
from search.reading import read_json, require_fields, shown
from search.schedules import seek_schedules
from search.strategy import GenerationStrategy
from search.strategy_format_1 import FORMAT_1, upgraded
from search.training_strategy import TrainingStrategy

FORMAT = "autonat-strategy/2"
OBJECTIVE_FIELDS = ("name", "settings", "dataset", "checkpoint", "tokens", "flops")
FLOPS_FIELDS = ("pass", "decode")
PROTOCOL_FIELDS = (
    "metric",
    "features",
    "features_hash",
    "resize",
    "quantisation",
    "reference_statistics_hash",
    "classes",
)
SEARCH_FIELDS = ("study", "optimiser", "settings", "seed", "space", "budget", "spent", "value")
TEST_FIELDS = (
    "metric",
    "value",
    "standard_error",
    "values",
    "images",
    "seeds",
    "forward_passes",
)
MLFLOW_FIELDS = ("tracking_uri", "run_id")


@dataclass(frozen=True)
class FinalTest:
    """The number that may be reported: measured on seeds that the search never saw.

    Attributes:
        value: mean over the seeds.
        standard_error: of that mean, from the spread over the seeds; for one seed that which its
            measurement states of itself. None where nobody knows.
        values: one a seed.
        images: n, images generated for each seed.
        seeds: the evaluations' seeds.
        forward_passes: network passes an image.
        metric: what the values are, by name ("fid").

    Raises:
        ValueError: values that are not finite, a negative error, not as many values as seeds, no
            images.
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
        if not _is_number(self.value):
            raise ValueError(f"test.value = {shown(self.value)} is not a finite number")
        error = self.standard_error
        if error is not None and not (_is_number(error) and error >= 0):
            raise ValueError(f"test.standard_error = {shown(error)} is not a finite number >= 0")
        if not self.seeds or len(self.values) != len(self.seeds):
            raise ValueError(
                f"test.values has {len(self.values)} values for {len(self.seeds)} seeds"
            )
        if not isinstance(self.metric, str) or not self.metric:
            raise ValueError(f"test.metric = {shown(self.metric)} is not the name of a metric")
        for name in ("images", "forward_passes"):
            if not _is_count(getattr(self, name)) or getattr(self, name) < 1:
                raise ValueError(
                    f"test.{name} = {shown(getattr(self, name))} is not a positive integer"
                )
        for i, value in enumerate(self.values):
            if not _is_number(value):
                raise ValueError(f"test.values[{i}] = {shown(value)} is not a finite number")
        for i, seed in enumerate(self.seeds):
            if not _is_count(seed):
                raise ValueError(f"test.seeds[{i}] = {shown(seed)} is not an integer >= 0")

    @property
    def standard_error_from(self) -> str | None:
        """Where `standard_error` is from (see `error_from`)."""
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
        """The test with these values by seed.

        Args:
            values: one a seed.
            images: n of each.
            forward_passes: an image.
            stated: the standard error that a measurement states of itself, of use where it is
                the only one.
            metric: what the values are.

        Raises:
            ValueError: a value that is not finite.
        """
        by_seed = tuple(values.values())
        mean = math.fsum(by_seed) / len(by_seed)
        error = stated
        if len(by_seed) > 1:
            variance = math.fsum((value - mean) ** 2 for value in by_seed) / (len(by_seed) - 1)
            error = math.sqrt(variance / len(by_seed))
        return cls(mean, error, by_seed, images, tuple(values), forward_passes, metric)

    def to_json(self) -> dict[str, Any]:
        """The `test` part of the strategy file."""
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
        """As the commands' JSON has it, in the names that it always had."""
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
    """Where a final test's standard error is from: "seeds", the spread over them, "measurement",
    what the only one states of itself, or None where there is none."""
    if standard_error is None:
        return None
    return "seeds" if len(seeds) > 1 else "measurement"


@dataclass(frozen=True)
class Control:
    """A strategy that needs no search, in the same final test: what a found one has to beat.

    Attributes:
        name: of the control.
        test: its final test; of the same n and seeds as the file's own.
    """

    name: str
    test: FinalTest

    def to_json(self) -> dict[str, Any]:
        """A `baseline` or `best_control` part of the strategy file."""
        return {"name": self.name, "test": self.test.to_json()}


@dataclass(frozen=True)
class StrategyFile:
    """A generation strategy and everything that was in force when it was measured.

    Attributes:
        generation: its schedules and choices.
        training: the mask-ratio distribution of the measured checkpoint.
        objective: name, settings, dataset, checkpoint (hash), tokens (L) and flops, the
            floating-point operations of one image's forward pass and of its decoding to pixels.
        protocol: how the value was computed: metric, features, features_hash (the weights'),
            resize, quantisation, reference_statistics_hash, classes.
        test: the final test, or None for a strategy that was not measured yet.
        baseline: the rule of thumb, or what else the search started from, in that final test; None
            where it was not measured.
        best_control: the control with the lowest FID in that final test, likewise. Below it the
            search has found something.
        search: study, optimiser with its settings and seed, space, budget, what was spent, and
            the value that the search itself saw; None for a strategy that no search found.
        versions: of the packages in force, by name.
        mlflow: tracking_uri and run_id of the parent run.
    """

    generation: GenerationStrategy
    training: TrainingStrategy | None = None
    objective: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None
    test: FinalTest | None = None
    baseline: Control | None = None
    best_control: Control | None = None
    search: Mapping[str, Any] | None = None
    versions: Mapping[str, str] | None = None
    mlflow: Mapping[str, str | None] | None = None

    def __post_init__(self) -> None:
        if self.test is not None:
            expected = self.generation.forward_passes()
            if self.test.forward_passes != expected:
                raise ValueError(
                    f"test.forward_passes = {self.test.forward_passes}, but the generation "
                    f"strategy takes {expected}"
                )
        if self.objective is not None and _is_count(self.objective.get("tokens")):
            self.generation.masked_counts(self.objective["tokens"])

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "format": FORMAT,
            "generation": self.generation.to_json() | self.generation.choices(),
            "training": None if self.training is None else self.training.to_json(),
            "objective": None if self.objective is None else {"flops": None, **self.objective},
            "protocol": None if self.protocol is None else dict(self.protocol),
            "test": None if self.test is None else self.test.to_json(),
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "best_control": None if self.best_control is None else self.best_control.to_json(),
            "search": None if self.search is None else dict(self.search),
            "versions": None if self.versions is None else dict(self.versions),
            "mlflow": None if self.mlflow is None else dict(self.mlflow),
        }

    @classmethod
    def from_json(cls, data: Any) -> StrategyFile:
        """The inverse of `to_json`.

        Raises:
            ValueError: an unknown format version, or a field that is missing, unknown or not
                valid; the line names the field and the value.
        """
        if isinstance(data, dict) and "format" in data:
            if data["format"] not in (FORMAT, FORMAT_1):
                known = f"{FORMAT!r} and {FORMAT_1!r}"
                raise ValueError(f"format = {shown(data['format'])} is unknown; known: {known}")
            if data["format"] == FORMAT_1:
                data = upgraded(data)
        parts = require_fields(
            "the strategy file", data, ("format", *(f.name for f in fields(cls)))
        )
        training, test = parts["training"], parts["test"]
        if isinstance(parts["generation"], dict) and isinstance(parts["objective"], dict):
            lists = [name for name, v in parts["generation"].items() if isinstance(v, list)]
            seek_schedules(lists, parts["objective"].get("name"))
        return cls(
            generation=_generation(parts["generation"]),
            training=None if training is None else TrainingStrategy.from_json(training),
            objective=_part("objective", parts["objective"], OBJECTIVE_FIELDS),
            protocol=_part("protocol", parts["protocol"], PROTOCOL_FIELDS),
            test=None if test is None else _final_test("test", test),
            baseline=_control("baseline", parts["baseline"]),
            best_control=_control("best_control", parts["best_control"]),
            search=_part("search", parts["search"], SEARCH_FIELDS),
            versions=_versions(parts["versions"]),
            mlflow=_part("mlflow", parts["mlflow"], MLFLOW_FIELDS),
        )

    def image_flops(self) -> int | None:
        """See `image_flops`."""
        return image_flops(self.objective, self.generation)

    def write(self, path: Path | str) -> None:
        """Write the file, whole or not at all."""
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        write_text(Path(path), text)

    @classmethod
    def read(cls, path: Path) -> StrategyFile:
        """Read a file.

        Raises:
            ValueError: it cannot be read, is no JSON, or is not valid; the file is named.
        """
        content = read_json(path)
        try:
            return cls.from_json(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def image_flops(objective: Mapping[str, Any] | None, strategy: GenerationStrategy) -> int | None:
    """Floating-point operations of an image, its decoding to pixels included; None where the
    objective does not say what a pass costs."""
    flops = None if objective is None else objective.get("flops")
    if flops is None:
        return None
    return int(strategy.forward_passes() * flops["pass"] + flops["decode"])


def _generation(data: Any) -> GenerationStrategy:
    """A file says every choice, even the default."""
    for name in CHOICES if isinstance(data, dict) else ():
        if name not in data:
            raise ValueError(f"generation lacks the field {name!r}")
    return GenerationStrategy.from_json(data)


def _part(where: str, data: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    if data is None:
        return None
    part = require_fields(where, data, names)
    _require_finite(where, part)
    if where == "protocol" and not (isinstance(part["metric"], str) and part["metric"]):
        raise ValueError(f"protocol.metric = {shown(part['metric'])} is not the name of a metric")
    if where == "objective":
        if not isinstance(part["name"], str):
            raise ValueError(f"objective.name = {shown(part['name'])} is not a string")
        if not isinstance(part["settings"], dict):
            raise ValueError(f"objective.settings = {shown(part['settings'])} is not an object")
        if not _is_count(part["tokens"]) or part["tokens"] < 1:
            raise ValueError(
                f"objective.tokens = {shown(part['tokens'])} is not a positive integer"
            )
        flops = part["flops"]
        if flops is not None:
            for name, value in require_fields("objective.flops", flops, FLOPS_FIELDS).items():
                if not _is_count(value):
                    raise ValueError(
                        f"objective.flops.{name} = {shown(value)} is not an integer >= 0"
                    )
    return part


def _final_test(where: str, data: Any) -> FinalTest:
    checked = require_fields(where, data, TEST_FIELDS)
    for name in ("values", "seeds"):
        if not isinstance(checked[name], list):
            raise ValueError(f"{where}.{name} = {shown(checked[name])} is not a list")
    return FinalTest(**checked)


def _control(where: str, data: Any) -> Control | None:
    if data is None:
        return None
    part = require_fields(where, data, ("name", "test"))
    if not isinstance(part["name"], str):
        raise ValueError(f"{where}.name = {part['name']!r} is not a string")
    try:
        return Control(part["name"], _final_test("test", part["test"]))
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def _versions(data: Any) -> dict[str, str] | None:
    if data is None:
        return None
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise ValueError(f"versions must map package names to strings, not {shown(data)}")
    return data


def _require_finite(where: str, value: Any) -> None:
    """JSON has no NaN and no infinity, however deep they lie."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _require_finite(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _require_finite(f"{where}[{i}]", inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} = {value!r} is not finite")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
