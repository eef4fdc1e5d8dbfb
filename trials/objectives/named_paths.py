"""Settings that name files, made absolute when they are given.

A record and a strategy file are read again by commands that stand in other folders: `--resume`,
`report`, `evaluate best.json`. What is a path is said by the annotation of the objective's keyword:
`pathlib.Path`, or one of the two here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from trials.objectives.typed_settings import keyword_types

PATH, KIND_AND_PATH = "PATH", "KIND:PATH"

PathText = Annotated[str, PATH]
"""A path, handed on as text."""
KindAndPath = Annotated[str, KIND_AND_PATH]
"""A text like vqgan:PATH."""
MaybePath = Annotated[Any, PATH, KIND_AND_PATH]
"""Any value; a text that names something that lies there, as PATH or KIND:PATH, is a path."""


def with_absolute_paths(made_by: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, their paths absolute. What does not lie there stays as it was said: it may be
    a name, and whoever opens it says best that there is no such file.

    Args:
        made_by: a class with these keywords.
        settings: JSON values by name.
    """
    type_of = keyword_types(made_by)
    return {name: _absolute(type_of(name), value) for name, value in settings.items()}


def _absolute(kind: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = _parts(kind)
    before, colon, after = value.partition(":") if KIND_AND_PATH in parts else ("", "", value)
    if not after and PATH in parts:
        before, colon, after = "", "", value
    if not after or not parts & {PATH, KIND_AND_PATH, Path}:
        return value
    path = Path(after).expanduser()
    return f"{before}{colon}{path.resolve()}" if path.exists() else value


def _parts(kind: Any) -> set[Any]:
    """An annotation and all that it is made of: Annotated[str, PATH] | None has str and PATH."""
    found: set[Any] = {kind}
    for part in get_args(kind):
        found |= _parts(part)
    return found
