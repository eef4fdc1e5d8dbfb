"""Makes the paths in settings absolute when they are given.

A record and a strategy file are read again by commands in other working directories: `--resume`,
`report`, `evaluate best.json`. The annotation of the objective's keyword says whether a setting is
a path: `pathlib.Path`, or one of the annotations below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from trials.objectives.typed_settings import keyword_types

PATH, KIND_AND_PATH = "PATH", "KIND:PATH"

PathText = Annotated[str, PATH]
"""A path that is passed on as text."""
KindAndPath = Annotated[str, KIND_AND_PATH]
"""A text such as vqgan:PATH."""
MaybePath = Annotated[Any, PATH, KIND_AND_PATH]
"""Any value; a text that names an existing file as PATH or KIND:PATH is treated as a path."""


def with_absolute_paths(made_by: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with their paths absolute.

    A path that does not exist stays as it was given. It may be a name, and opening it will report
    best that there is no such file.

    Args:
        made_by: a class with these keywords.
        settings: JSON values by name.
    """
    type_of = keyword_types(made_by)
    return {name: _absolute(type_of(name), value) for name, value in settings.items()}


def _absolute(kind: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = _parts_of(kind)
    before, colon, after = value.partition(":") if KIND_AND_PATH in parts else ("", "", value)
    if PATH in parts and (not after or Path(value).exists()):
        before, colon, after = "", "", value
    if not after or not parts & {PATH, KIND_AND_PATH, Path}:
        return value
    path = Path(after).expanduser()
    return f"{before}{colon}{path.resolve()}" if path.exists() else value


def _parts_of(kind: Any) -> set[Any]:
    """An annotation and its parts: those of Annotated[str, PATH] | None include str and PATH."""
    found: set[Any] = {kind}
    for part in get_args(kind):
        found |= _parts_of(part)
    return found
