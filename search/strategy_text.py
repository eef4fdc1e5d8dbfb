"""The text of a strategy file: what its extra fields tell the reader, and how it is laid out.

These fields say nothing that the others do not; they make the file clear to a colleague who opens
it. Files that were written before them lack them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.measurement import metric_label
from search.reading import shown

if TYPE_CHECKING:
    from search.final_test import Control, FinalTest
    from search.strategy import GenerationStrategy
    from search.strategy_file import StrategyFile

SCHEMA = "urn:autonat:strategy:2"
"""The name of the schema, which is its `$id`; it is published as strategy.schema.json."""
EXTRA_FIELDS = ("$schema", "about", "masked_tokens")
"""Fields that are written, and not needed to read a file."""
VALUE_MEANS = "value_means"
"""The extra field of `search`."""


def extra_fields(file: StrategyFile) -> dict[str, Any]:
    """The extra fields of a file, by name."""
    return {"$schema": SCHEMA, "about": about(file), "masked_tokens": masked_tokens(file)}


def about(file: StrategyFile) -> str:
    """Say in a line what a file is, and what was measured."""
    objective, search = file.objective or {}, file.search
    parts = [f"A generation strategy of a masked image generator, T = {file.generation.steps}"]
    if search is not None:
        parts[0] += f", found by {search.get('optimiser')}"
    if file.test is not None:
        of = objective.get("dataset") or objective.get("name")
        n, seeds = f"{file.test.images:,}", len(file.test.seeds)
        on = "" if of is None else f" on {of}"
        how = (
            f"with {n} images" if seeds == 1 else f"the mean over {seeds} seeds of {n} images each"
        )
        parts.append(f"{_said(file.test)}{on}, {how}")
    controls: dict[str, Control] = {
        control.name: control
        for control in (file.baseline, file.best_control)
        if control is not None
    }
    beside = [f"{name} has {_said(control.test)}" for name, control in controls.items()]
    return "; ".join([*parts, *beside]) + ". Lower is better." * bool(file.test)


def masked_tokens(file: StrategyFile) -> list[int] | None:
    """How many of an image's tokens are still masked after each step, or None if L is unknown."""
    tokens = None if file.objective is None else file.objective.get("tokens")
    return None if tokens is None else list(file.generation.masked_counts(tokens))


def value_means(search: Mapping[str, Any]) -> str:
    """Say what the value in the `search` part is, which readers take for the result."""
    n = search.get("budget", {}).get("images_per_evaluation")
    each = "" if n is None else f" with {n:,} images for each evaluation"
    metric = f" as {metric_label(search['metric'])}" if "metric" in search else ""
    return (
        f"what the search itself measured{metric}{each}, and chose because it was low; it is not a "
        "result: test.value is"
    )


def without_extra_fields(data: Any) -> Any:
    """The content of a file without its extra fields."""
    if not isinstance(data, dict):
        return data
    kept = {name: value for name, value in data.items() if name not in EXTRA_FIELDS}
    if isinstance(search := kept.get("search"), dict):
        kept["search"] = {name: v for name, v in search.items() if name != VALUE_MEANS}
    return kept


def check_masked_tokens(found: Any, generation: GenerationStrategy, tokens: object) -> None:
    """Check that the counts in a file are those of its strategy.

    Raises:
        ValueError: they are not.
    """
    if found is None or not isinstance(tokens, int):
        return
    expected = list(generation.masked_counts(tokens))
    if found != expected:
        raise ValueError(f"masked_tokens: expected {expected}, got {shown(found)}")


def json_text(value: Any, indent: str = "") -> str:
    """JSON with a field a line, and every list of plain values on one line.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{json_text(k)}: {json_text(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(v, dict | list | tuple) for v in value):
        lines = [f"{deeper}{json_text(v, deeper)}" for v in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _said(test: FinalTest) -> str:
    error = "" if test.standard_error is None else f" ± {test.standard_error:.2g}"
    return f"{metric_label(test.metric)} {test.value:.4g}{error}"
