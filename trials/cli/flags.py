"""The flags that commands share, and the readers of values such as NAME=VALUE."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from search.expected import expected
from search.final_test import require_test_seeds
from search.names import require_distinct
from search.reading import LARGEST_INTEGER, parse_yaml, shown
from trials.lab import VARIABLES

LabFlag = Annotated[
    Path,
    typer.Option(
        "--lab",
        metavar="FOLDER",
        envvar=VARIABLES["lab"],
        help="The lab: the folder that holds all files.",
    ),
]
RecordFlag = Annotated[
    str | None,
    typer.Option(
        "--record-url",
        metavar="URL",
        envvar=VARIABLES["record_url"],
        help="The Optuna storage of the record. (default: SQLite in the lab)",
    ),
]
TrackingFlag = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        envvar=VARIABLES["tracking_uri"],
        help="The MLflow store of the runs. (default: SQLite in the lab)",
    ),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on stdout, and nothing else.")
]
SetFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--objective-settings",
        "--set",
        metavar="SETTING",
        help="A setting of the objective: NAME=VALUE, such as width=64. Repeatable.",
    ),
]
ObjectiveFlag = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="NAME",
        help="What measures a strategy: a name that `autonat objectives` lists, or "
        "package.module:Class.",
    ),
]
StrategyArgument = Annotated[
    Path,
    typer.Argument(
        metavar="STRATEGY.json",
        help="A strategy file, such as best.json, or a preset that `autonat zoo` lists.",
    ),
]
NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The name of a search; `autonat list` prints the names."),
]
NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="The names of searches; `autonat list` prints them."),
]
WorkersFlag = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="COUNT",
        help="Evaluations at the same time. (default: the cores of this machine)",
    ),
]
TestImagesFlag = Annotated[
    int | None,
    typer.Option(
        "--images",
        metavar="IMAGES",
        min=1,
        help="Images generated for each seed. (default: as many as in the final test)",
    ),
]
TestSeedsFlag = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="SEED,…",
        help="Seeds, such as 1,2,3. (default: those of the final test)",
    ),
]
RayAddressFlag = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="A running Ray cluster: auto, HOST:PORT or ray://HOST:10001.",
    ),
]
OLD_NAMES = (
    ("--control", "--controls"),
    ("--distribution", "--mask-ratio-distribution"),
    ("--freeze", "--frozen"),
    ("--images", "--images-per-evaluation"),
    ("--optimiser", "--optimisers"),
    ("--optimiser", "--method"),
    ("--optimiser-set", "--optimiser-settings"),
)
"""Former names of flags, each with the present one."""
Function = TypeVar("Function", bound=Callable[..., Any])


def read_assignments(flag: str, pairs: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE texts, whose values are YAML.

    Args:
        flag: the flag that they were given with, for error lines.
        pairs: the texts as given.

    Raises:
        ValueError: a text has another form, a value is not YAML, or a name occurs twice.
    """
    values: dict[str, Any] = {}
    for name, text in _by_name(flag, pairs).items():
        try:
            values[name] = parse_yaml(text)
        except ValueError as error:
            raise ValueError(f"{flag} {name}={shown(text)[1:-1]}: {error}") from None
    return values


def read_nested(flag: str, pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Read OPTIMISER.NAME=VALUE texts into one dict for each optimiser.

    Raises:
        ValueError: a text has another form, a value is not YAML, or a name occurs twice.
    """
    nested: dict[str, dict[str, Any]] = {}
    for name, value in read_assignments(flag, pairs).items():
        optimiser, _, setting = name.rpartition(".")
        if not optimiser or not setting:
            raise ValueError(
                f"{flag}: expected OPTIMISER.NAME=VALUE, got {shown(name)} before the ="
            )
        nested.setdefault(optimiser, {})[setting] = value
    return nested


def read_bounds(flag: str, texts: list[str] | None) -> dict[str, dict[str, Any]]:
    """Read NAME=LOW:HIGH[:log] texts, the bounds of schedules or of a distribution's parameters.

    Raises:
        ValueError: a text has another form, or a name occurs twice.
    """
    found = {}
    for name, bounds in _by_name(flag, texts).items():
        low, _, rest = bounds.partition(":")
        high, colon, scale = rest.partition(":")
        try:
            found[name] = {"low": float(low), "high": float(high), "log": bool(colon)}
        except ValueError:
            raise ValueError(
                f"{flag}: expected NAME=LOW:HIGH or NAME=LOW:HIGH:log, got {name}={bounds}"
            ) from None
        if colon and scale != "log":
            raise ValueError(
                f"{flag} {name}={bounds}: expected the scale log, or none, got {scale!r}"
            )
    return found


def read_choices(flag: str, texts: list[str] | None) -> dict[str, list[str]]:
    """Read NAME=VALUE texts, which fix a choice, and NAME=VALUE,VALUE texts, which search it.

    Raises:
        ValueError: a text has another form, or a name occurs twice.
    """
    return {name: values.split(",") for name, values in _by_name(flag, texts).items()}


def _by_name(flag: str, pairs: list[str] | None) -> dict[str, str]:
    """The values of NAME=VALUE texts, by name."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag}: expected NAME=VALUE, got {shown(pair)}")
        if name in found:
            raise ValueError(f"{flag}: {name} is named twice")
        found[name] = value
    return found


def read_names(texts: list[str]) -> list[str]:
    """Names from one text or several, separated by commas."""
    return [name.strip() for text in texts for name in text.split(",")]


def read_seeds(flag: str, text: str) -> list[int]:
    """Read seeds separated by commas, all below the seeds that searches use.

    Raises:
        ValueError: a seed is not a whole number, is out of range, or occurs twice.
    """
    seeds = _whole_numbers(flag, text)
    require_test_seeds(flag, seeds)
    return seeds


def read_counts(flag: str, text: str) -> list[int]:
    """Read positive whole numbers separated by commas.

    Raises:
        ValueError: a number is not whole or not positive, or occurs twice.
    """
    counts = _whole_numbers(flag, text)
    for count in counts:
        if count < 1:
            raise ValueError(f"{flag}: expected numbers above 0, got {count}")
    require_distinct(flag, counts)
    return counts


def _whole_numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{flag}: expected whole numbers separated by commas, got {shown(text)}"
        ) from None


def finite(param: typer.CallbackParam, value: float) -> float:
    """Check that the value of an option is finite, and return it.

    Raises:
        ValueError: it is infinite or NaN.
    """
    if not math.isfinite(value):
        raise ValueError(f"{param.opts[0]}: expected a finite number, got {value}")
    return value


def countable(param: typer.CallbackParam, value: int | None) -> int | None:
    """Check that the value of an option that counts something fits 64 bits, and return it.

    Raises:
        ValueError: it is larger.
    """
    if value is not None and value > LARGEST_INTEGER:
        raise ValueError(
            f"{param.opts[0]}: expected a number up to {LARGEST_INTEGER}, got {shown(value)}"
        )
    return value


def without_flag_placeholders(parameters: list[Any]) -> list[Any]:
    """Parameters whose help shows no placeholder, such as <bool>, for flags without a value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command that refuses an option given twice, unless it is repeatable, and an empty value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `click.Command.get_params`."""
        return without_flag_placeholders(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`.

        Raises:
            ValueError: an option is given twice, a value is empty, or a value is not valid.
        """
        args = self._renamed(ctx, args)
        if not ctx.resilient_parsing:
            given, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for parameter in dict.fromkeys(order):
                name, value = parameter.metavar or parameter.name, given.get(parameter.name)
                if isinstance(parameter, TyperOption):
                    name = parameter.opts[0]
                    if order.count(parameter) > 1 and not parameter.multiple:
                        raise ValueError(f"{name} is given {order.count(parameter)} times")
                if "" in (value if isinstance(value, list | tuple) else [value]):
                    raise ValueError(f"{name} is empty")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:  # one line, as for all other errors
            raise ValueError(_in_words(error)) from None

    def _renamed(self, ctx: Any, args: list[str]) -> list[str]:
        """The words with former names of flags replaced, where the command has only the present
        ones."""
        known = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        renamed = {old: new for old, new in OLD_NAMES if old not in known and new in known}
        words = [word.partition("=") for word in args]
        return [f"{renamed.get(name, name)}{equals}{rest}" for name, equals, rest in words]


def _in_words(error: typer.BadParameter) -> str:
    """What a parameter should have been, in the words of all other errors.

    Typer's message is pydantic's: "Input should be greater than or equal to 1".
    """
    from pydantic import ValidationError  # typer imports it only to check values

    cause, parameter = error.__cause__, error.param
    if not isinstance(cause, ValidationError) or parameter is None:
        return error.format_message()
    first = cause.errors()[0]
    name = parameter.opts[0] if isinstance(parameter, TyperOption) else parameter.metavar
    if first["type"] == "value_error":  # of a callback of ours, whose sentence is whole
        return f"{name}: {first['msg'].removeprefix('Value error, ')}"
    given = first["input"]
    with contextlib.suppress(TypeError, ValueError):
        float(given)
        given = json.loads(given)  # a number without quotes
    return f"{name}: {expected(first, given)}"


class App(typer.Typer):
    """A Typer app whose commands are of the class Command."""

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[Function], Function]:
        """See `typer.Typer.command`."""
        return super().command(name, **{"cls": Command} | kwargs)
