"""The flags that commands share, and readers of those whose values have a form of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from search.optimiser import FIRST_SEARCH_SEED

LabFlag = Annotated[
    Path, typer.Option("--lab", envvar="AUTONAT_LAB", help="Folder of the project's files.")
]
RecordFlag = Annotated[
    str | None,
    typer.Option(
        "--record-url",
        envvar="AUTONAT_RECORD_URL",
        help="Optuna storage. (default: SQLite in the lab)",
    ),
]
TrackingFlag = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", envvar="AUTONAT_TRACKING_URI", help="MLflow. (default: SQLite in the lab)"
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
SetFlag = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE of the objective; repeatable.")
]
ObjectiveFlag = Annotated[
    str | None, typer.Option("--objective", help="A registered name, or package.module:Class.")
]
StrategyArgument = Annotated[Path, typer.Argument(metavar="STRATEGY.json")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the search.")]
LAB = Path("autonat-lab")


def read_assignments(pairs: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs, the values read as YAML.

    Raises:
        ValueError: another form, or a value that is not YAML.
    """
    values = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"{pair!r}: the value is not YAML") from None
    return values


def read_nested(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """OPTIMISER.NAME=VALUE pairs, one dict an optimiser.

    Raises:
        ValueError: another form, or a value that is not YAML.
    """
    nested: dict[str, dict[str, Any]] = {}
    for name, value in read_assignments(pairs).items():
        optimiser, _, setting = name.rpartition(".")
        nested.setdefault(optimiser, {})[setting] = value
    return nested


def read_bounds(texts: list[str]) -> dict[str, dict[str, Any]]:
    """NAME=LOW:HIGH[:log] texts, of schedules or of a distribution's parameters.

    Raises:
        ValueError: another form.
    """
    found = {}
    for text in texts:
        name, _, bounds = text.partition("=")
        parts = bounds.split(":")
        try:
            low, high = map(float, parts[:2])
        except ValueError:
            raise ValueError(f"bounds {text} are not NAME=LOW:HIGH or NAME=LOW:HIGH:log") from None
        found[name] = {"low": low, "high": high, "log": parts[2:] == ["log"]}
    return found


def read_seeds(text: str) -> list[int]:
    """Seeds with commas, each below those of the searches.

    Raises:
        ValueError: not numbers, out of range, or one twice.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"seeds {text!r} are not whole numbers with commas") from None
    for seed in seeds:
        if not 0 <= seed < FIRST_SEARCH_SEED:
            raise ValueError(f"seed = {seed} is outside [0, 2**31): larger ones are the searches'")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {text!r} name one twice")
    return seeds


def read_counts(name: str, text: str) -> list[int]:
    """Positive whole numbers with commas.

    Raises:
        ValueError: others, or one twice.
    """
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} {text!r} are not whole numbers with commas") from None
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise ValueError(f"{name} {text!r}: each must be positive, and none there twice")
    return counts
