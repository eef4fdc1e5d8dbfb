"""The strategy file (JSON, "autonat-strategy/2"): a strategy with all that its value depends on.

Its schema is published beside this module as strategy.schema.json. Every field is written, and a
field that does not apply is null, so that nothing can have been forgotten. Files of
"autonat-strategy/1" are read as well (see search.strategy_format_1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from search.choices import CHOICES
from search.files import write_text
from search.final_test import Control, FinalTest, is_count, read_control, read_final_test
from search.measurement import with_precision
from search.reading import read_json, require_fields, shown
from search.schedules import seek_schedules
from search.strategy import GenerationStrategy
from search.strategy_format_1 import FORMAT_1, upgraded
from search.strategy_text import (
    VALUE_MEANS,
    check_masked_tokens,
    extra_fields,
    json_text,
    value_means,
    without_extra_fields,
)
from search.training_strategy import TrainingStrategy

FORMAT = "autonat-strategy/2"
OBJECTIVE_FIELDS = ("name", "settings", "files", "dataset", "checkpoint", "tokens", "flops")
FLOPS_FIELDS = ("pass", "decode")
PROTOCOL_FIELDS = (
    "metric",
    "features",
    "features_hash",
    "resize",
    "quantisation",
    "reference_statistics_hash",
    "classes",
    "precision",
)
SEARCH_FIELDS = ("study", "optimiser", "settings", "seed", "space", "budget", "spent", "value")
MLFLOW_FIELDS = ("tracking_uri", "run_id")


@dataclass(frozen=True)
class StrategyFile:
    """A generation strategy and everything that was in force when it was measured.

    Attributes:
        generation: the generation strategy.
        training: the training strategy of the measured checkpoint, or None.
        objective: name, settings, files, dataset, checkpoint (its hash), tokens (L) and flops: the
            floating-point operations of a forward pass for one image, and of decoding it to pixels.
            `files` names the settings that are files, each with the hash of its content (None
            where it was not known); the settings hold only the names of these files. It is None in
            files of earlier versions, whose settings hold paths.
        protocol: how the value was computed: metric, features, features_hash (of the weights),
            resize, quantisation, reference_statistics_hash, classes, precision (of tokens, pixels
            and features).
        test: the final test, or None for a strategy that was not measured yet.
        baseline: the final test of the strategy that the search started from, by default the rule
            of thumb; None if it was not measured.
        best_control: the final test of the control with the lowest value, or None. A search is
            successful only if it is below this.
        search: study, optimiser with its settings and seed, space, budget, what was spent, and
            the value measured during the search, with its metric if the test has another; None
            for a strategy that no search found.
        versions: the versions of the packages in use, by name.
        mlflow: tracking_uri and run_id of the parent run in MLflow.
        date: the day of the last measurement, "2026-11-26", or None.
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
    date: str | None = None

    def __post_init__(self) -> None:
        if self.test is not None:
            strategy = self.generation
            expected = strategy.forward_passes()
            # Files may be from before remainders of rounding counted as no guidance.
            former = strategy.steps + sum(
                scale > strategy.guidance_floor for scale in strategy.guidance_scale
            )
            if self.test.forward_passes not in (expected, former):
                raise ValueError(
                    f"test.forward_passes: expected {expected}, as the generation strategy takes, "
                    f"got {self.test.forward_passes}"
                )
        if self.objective is not None and is_count(self.objective.get("tokens")):
            self.generation.masked_counts(self.objective["tokens"])

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        extra = extra_fields(self)
        search = None if self.search is None else dict(self.search)
        if search is not None and "value" in search:
            search[VALUE_MEANS] = value_means(search)
        return {
            "$schema": extra["$schema"],
            "format": FORMAT,
            "about": extra["about"],
            "date": self.date,
            "generation": self.generation.to_json() | self.generation.choices(),
            "masked_tokens": extra["masked_tokens"],
            "training": None if self.training is None else self.training.to_json(),
            "objective": _written_objective(self.objective),
            "protocol": None if self.protocol is None else dict(self.protocol),
            "test": None if self.test is None else self.test.to_json(),
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "best_control": None if self.best_control is None else self.best_control.to_json(),
            "search": search,
            "versions": None if self.versions is None else dict(self.versions),
            "mlflow": None if self.mlflow is None else dict(self.mlflow),
        }

    @classmethod
    def from_json(cls, data: Any) -> StrategyFile:
        """Make a strategy file from its content: the inverse of `to_json`.

        Raises:
            ValueError: the format is unknown, or a field is missing, unknown or not valid; the
                line names the field and the value.
        """
        if isinstance(data, dict) and "format" in data:
            if data["format"] not in (FORMAT, FORMAT_1):
                known = f"{FORMAT!r} and {FORMAT_1!r}"
                raise ValueError(f"format = {shown(data['format'])} is unknown; known: {known}")
            if data["format"] == FORMAT_1:
                data = upgraded(data)
            data = {"date": None} | data
        masked = data.get("masked_tokens") if isinstance(data, dict) else None
        parts = require_fields(
            "the strategy file",
            without_extra_fields(data),
            ("format", *(f.name for f in fields(cls))),
        )
        training, test = parts["training"], parts["test"]
        if isinstance(parts["protocol"], dict):
            objective = parts["objective"]
            settings = objective.get("settings") if isinstance(objective, dict) else None
            parts["protocol"] = with_precision(parts["protocol"], settings)
        if isinstance(parts["generation"], dict) and isinstance(parts["objective"], dict):
            lists = [name for name, v in parts["generation"].items() if isinstance(v, list)]
            seek_schedules(lists, parts["objective"].get("name"))
        file = cls(
            generation=_read_generation(parts["generation"]),
            training=None if training is None else TrainingStrategy.from_json(training),
            objective=_read_section("objective", parts["objective"], OBJECTIVE_FIELDS),
            protocol=_read_section("protocol", parts["protocol"], PROTOCOL_FIELDS),
            test=None if test is None else read_final_test("test", test),
            baseline=read_control("baseline", parts["baseline"]),
            best_control=read_control("best_control", parts["best_control"]),
            search=_read_section("search", parts["search"], SEARCH_FIELDS),
            versions=_read_versions(parts["versions"]),
            mlflow=_read_section("mlflow", parts["mlflow"], MLFLOW_FIELDS),
            date=_read_date(parts["date"]),
        )
        check_masked_tokens(masked, file.generation, (file.objective or {}).get("tokens"))
        return file

    def image_flops(self) -> int | None:
        """See `image_flops`."""
        return image_flops(self.objective, self.generation)

    def write(self, path: Path | str) -> None:
        """Write the file atomically."""
        write_text(Path(path), json_text(self.to_json()) + "\n")

    @classmethod
    def read(cls, path: Path | str) -> StrategyFile:
        """Read a file.

        Raises:
            ValueError: the file cannot be read, is not JSON, or is not valid; the line names it.
        """
        content = read_json(Path(path))
        try:
            return cls.from_json(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def image_flops(objective: Mapping[str, Any] | None, strategy: GenerationStrategy) -> int | None:
    """Return the floating-point operations for one image, including its decoding to pixels.

    None if the objective does not say what a forward pass costs.
    """
    flops = None if objective is None else objective.get("flops")
    if flops is None:
        return None
    return int(strategy.forward_passes() * flops["pass"] + flops["decode"])


def _read_generation(data: Any) -> GenerationStrategy:
    """Read the `generation` part, where every choice is required, even if it is the default."""
    for name in CHOICES if isinstance(data, dict) else ():
        if name not in data:
            raise ValueError(f"generation lacks the field {name!r}")
    return GenerationStrategy.from_json(data)


def _read_section(where: str, data: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    if data is None:
        return None
    if where == "objective" and isinstance(data, dict):
        data = {"files": None} | data
    if where == "search" and isinstance(data, dict) and "metric" in data:
        names = (*names, "metric")
    part = require_fields(where, data, names)
    _require_finite(where, part)
    if where == "protocol" and not (isinstance(part["metric"], str) and part["metric"]):
        raise ValueError(f"protocol.metric = {shown(part['metric'])} is not the name of a metric")
    if where == "search" and not isinstance(part.get("metric", ""), str):
        raise ValueError(f"search.metric = {shown(part['metric'])} is not the name of a metric")
    if where == "objective":
        if not isinstance(part["name"], str):
            raise ValueError(f"objective.name = {shown(part['name'])} is not a string")
        if not isinstance(part["settings"], dict):
            raise ValueError(f"objective.settings = {shown(part['settings'])} is not an object")
        if not is_count(part["tokens"]) or part["tokens"] < 1:
            raise ValueError(
                f"objective.tokens = {shown(part['tokens'])} is not a positive integer"
            )
        _check_files(part["files"], part["settings"])
        flops = part["flops"]
        if flops is not None:
            for name, value in require_fields("objective.flops", flops, FLOPS_FIELDS).items():
                if not is_count(value):
                    raise ValueError(
                        f"objective.flops.{name} = {shown(value)} is not an integer >= 0"
                    )
    return part


def _written_objective(objective: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if objective is None:
        return None
    told = {"files": None, "flops": None, **objective}
    return {name: told[name] for name in (*OBJECTIVE_FIELDS, *told) if name in told}


def _check_files(files: Any, settings: Mapping[str, Any]) -> None:
    """Check that `objective.files` holds hashes, or null, of settings that are texts."""
    if files is None:
        return
    if not isinstance(files, dict):
        raise ValueError(f"objective.files = {shown(files)} is not an object")
    for name, digest in files.items():
        if not isinstance(settings.get(name), str):
            raise ValueError(
                f"objective.files.{name}: expected a setting with the name of a file, got "
                f"{shown(settings.get(name))}"
            )
        if digest is not None and not isinstance(digest, str):
            raise ValueError(f"objective.files.{name} = {shown(digest)} is not a hash")


def _read_versions(data: Any) -> dict[str, str] | None:
    if data is None:
        return None
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise ValueError(f"versions: expected strings by package name, got {shown(data)}")
    return data


def _read_date(data: Any) -> str | None:
    if data is None:
        return None
    try:
        return date.fromisoformat(data).isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"date = {shown(data)} is not a day such as 2026-11-26") from None


def _require_finite(where: str, value: Any) -> None:
    """Refuse NaN and infinity at any depth, because JSON has neither."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _require_finite(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _require_finite(f"{where}[{i}]", inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} = {value!r} is not finite")
