"""The flags of `autonat search`: one for each setting, made from the declaration of the setting."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
import typer.main
from pydantic.fields import FieldInfo

from trials.cli.flags import (
    read_assignments,
    read_bounds,
    read_choices,
    read_counts,
    read_names,
    read_nested,
    read_seeds,
)
from trials.searches.setting_groups import GROUPS, BoundSettings, Flag


@functools.cache
def setting_options() -> Mapping[str, Any]:
    """The command-line options of all settings, by setting, in the order of the help."""

    def settings(**given: Any) -> None:
        """The function whose signature Typer turns into options."""

    settings.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_flag_type(field) | None, _option(name, field, group.heading)],
            )
            for group in GROUPS
            for name, field in group.model_fields.items()
            if not _flag(field).hidden
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command()(settings)
    return {str(option.name): option for option in typer.main.get_command(app).params}


def read_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the values of flags into settings.

    Args:
        given: the values by setting; None or empty where a flag was not given.

    Raises:
        ValueError: a value has not the form that its setting needs.
    """
    fields = {name: field for group in GROUPS for name, field in group.model_fields.items()}
    return {
        name: _read(fields[name], setting_options()[name].opts[-1], value)
        for name, value in given.items()
        if value not in (None, [], ())
    }


def _option(name: str, field: FieldInfo, heading: str) -> Any:
    flag = _flag(field)
    names = [f"--{name.replace('_', '-')}", *([flag.short] if flag.short else [])]
    default = flag.default
    if default is None and field.default not in (None, False, [], {}):
        value = field.default
        default = ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
    said = field.description or ""
    if default is not None:
        said = f"{said} (default: {default})"
    return typer.Option(
        *names,
        metavar=flag.metavar,
        envvar=flag.variable,
        help=said,
        show_default=False,
        rich_help_panel=heading,
    )


def _flag(field: FieldInfo) -> Flag:
    return next((item for item in field.metadata if isinstance(item, Flag)), Flag())


def _flag_type(field: FieldInfo) -> Any:
    """The type of a flag's value for Typer; a value that is parsed here is a text."""
    origin, plain = _bare_type(field)
    if origin in (list, dict):
        return list[str]
    if _flag(field).listed:
        return str
    return str if origin is Literal else plain


def _read(field: FieldInfo, flag: str, value: Any) -> Any:
    origin, plain = _bare_type(field)
    if _flag(field).listed:
        counts = read_counts(flag, value)
        return counts if len(counts) > 1 else counts[0]
    if origin is list:
        held = get_args(plain)[0]
        return read_names(value) if held is str else read_seeds(flag, ",".join(value))
    if origin is not dict:
        return value
    held = get_args(plain)[1]
    if held is BoundSettings:
        return read_bounds(flag, value)
    if get_origin(held) is list:
        return read_choices(flag, value)
    return read_nested(flag, value) if get_origin(held) is dict else read_assignments(flag, value)


def _bare_type(field: FieldInfo) -> tuple[Any, Any]:
    """The type of a setting without None and constraints, preceded by its origin (such as list)."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    first = field.annotation
    if get_origin(first) not in (list, dict, Literal) and kinds:
        first = Path if Path in kinds else kinds[0]
    if get_origin(first) is Annotated:
        first = get_args(first)[0]
    return get_origin(first), first
