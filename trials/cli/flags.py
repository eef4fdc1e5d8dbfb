"""The flags that commands share, and readers of those whose values have a form of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from search.names import require_distinct
from search.optimiser import FIRST_SEARCH_SEED
from search.reading import LARGEST_INTEGER, parse_yaml, shown
from trials.lab import DEFAULT_LAB, VARIABLES

LabFlag = Annotated[
    Path,
    typer.Option(
        "--lab",
        metavar="FOLDER",
        envvar=VARIABLES["lab"],
        help="The lab: the folder of all files.",
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
        help="Where MLflow keeps its runs. (default: SQLite in the lab)",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
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
LAB = DEFAULT_LAB
StrategyArgument = Annotated[
    Path, typer.Argument(metavar="STRATEGY.json", help="A strategy file, such as best.json.")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a search, as `autonat list` says it.")
]
NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="Names of searches, as `autonat list` says them."),
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
"""What flags were called before they were called as their settings are."""
Function = TypeVar("Function", bound=Callable[..., Any])


def read_assignments(flag: str, pairs: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs, the values read as YAML.

    Args:
        flag: that they were given with, for error lines.
        pairs: as given.

    Raises:
        ValueError: another form, a value that is not YAML, or a name that is there twice.
    """
    values: dict[str, Any] = {}
    for name, text in _named(flag, pairs).items():
        try:
            values[name] = parse_yaml(text)
        except ValueError as error:
            raise ValueError(f"{flag} {name}={shown(text)[1:-1]}: {error}") from None
    return values


def read_nested(flag: str, pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """OPTIMISER.NAME=VALUE pairs, one dict an optimiser.

    Raises:
        ValueError: another form, a value that is not YAML, or a name that is there twice.
    """
    nested: dict[str, dict[str, Any]] = {}
    for name, value in read_assignments(flag, pairs).items():
        optimiser, _, setting = name.rpartition(".")
        if not optimiser or not setting:
            raise ValueError(f"{flag} {name} is not OPTIMISER.NAME=VALUE")
        nested.setdefault(optimiser, {})[setting] = value
    return nested


def read_bounds(flag: str, texts: list[str] | None) -> dict[str, dict[str, Any]]:
    """NAME=LOW:HIGH[:log] texts, of schedules or of a distribution's parameters.

    Raises:
        ValueError: another form, or a name that is there twice.
    """
    found = {}
    for name, bounds in _named(flag, texts).items():
        low, _, rest = bounds.partition(":")
        high, colon, scale = rest.partition(":")
        try:
            found[name] = {"low": float(low), "high": float(high), "log": bool(colon)}
        except ValueError:
            raise ValueError(f"{flag} {name}={bounds} is not NAME=LOW:HIGH[:log]") from None
        if colon and scale != "log":
            raise ValueError(
                f"{flag} {name}={bounds}: the scale {scale!r} is unknown; it is log, or left out"
            )
    return found


def read_choices(flag: str, texts: list[str] | None) -> dict[str, list[str]]:
    """NAME=VALUE or NAME=VALUE,VALUE texts: one value is fixed, of several each is tried.

    Raises:
        ValueError: another form, or a name that is there twice.
    """
    return {name: values.split(",") for name, values in _named(flag, texts).items()}


def _named(flag: str, pairs: list[str] | None) -> dict[str, str]:
    """NAME=VALUE texts by name."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag} {shown(pair)} is not NAME=VALUE")
        if name in found:
            raise ValueError(f"{flag}: {name} is named twice")
        found[name] = value
    return found


def read_names(texts: list[str]) -> list[str]:
    """Names with commas, in one text or several."""
    return [name.strip() for text in texts for name in text.split(",")]


def read_seeds(flag: str, text: str) -> list[int]:
    """Seeds with commas, each below those of the searches.

    Raises:
        ValueError: not numbers, out of range, or one twice.
    """
    seeds = _whole_numbers(flag, text)
    for seed in seeds:
        if not 0 <= seed < FIRST_SEARCH_SEED:
            raise ValueError(
                f"{flag}: seed {shown(seed)} is outside [0, 2**31): larger ones are the searches'"
            )
    require_distinct(flag, seeds)
    return seeds


def read_counts(flag: str, text: str) -> list[int]:
    """Positive whole numbers with commas.

    Raises:
        ValueError: others, or one twice.
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


def finite(value: float) -> float:
    """The value of an option, which is a number.

    Raises:
        ValueError: infinite, or NaN.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def countable(value: int | None) -> int | None:
    """The value of an option, which counts something.

    Raises:
        ValueError: more than an integer of 64 bits holds.
    """
    if value is not None and value > LARGEST_INTEGER:
        raise ValueError(f"expected a number up to {LARGEST_INTEGER}, got {shown(value)}")
    return value


class Command(TyperCommand):
    """A command that takes nothing for something else: an option is said once, unless it is
    repeatable, and an empty text is none of its values."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `click.Command.get_params`; the help shows no value of what takes none."""
        found = super().get_params(ctx)
        for parameter in found:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`.

        Raises:
            ValueError: an option that is given twice, an empty text, or no value of the kind.
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
        except typer.BadParameter as error:  # one line, as for all other values
            raise ValueError(error.format_message()) from None

    def _renamed(self, ctx: Any, args: list[str]) -> list[str]:
        """The words with the names that flags have now, where the command has these alone."""
        known = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        renamed = {old: new for old, new in OLD_NAMES if old not in known and new in known}
        words = [word.partition("=") for word in args]
        return [f"{renamed.get(name, name)}{equals}{rest}" for name, equals, rest in words]


class App(typer.Typer):
    """A Typer whose commands are of that class."""

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[Function], Function]:
        """See `typer.Typer.command`."""
        return super().command(name, **{"cls": Command} | kwargs)
