"""Checks settings from users against the annotations of the class that takes them."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from search.expected import expected
from search.reading import shown


def typed_settings(
    owner: str, made_by: Callable[..., Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings, each in the type with which its keyword is annotated.

    The types of JSON are strict: True, "5" and 4.7 are not whole numbers. A list is accepted as a
    tuple and a text as a path, and converted. Any value is accepted where there is no annotation,
    or one that has no equivalent in JSON.

    Args:
        owner: what the settings belong to, for error lines: "objective digits".
        made_by: a class with these keywords.
        settings: JSON values by name.

    Raises:
        ValueError: a value is not a JSON value, or is of another type; setting and value are named.
    """
    type_of = keyword_types(made_by)
    return {
        name: _typed(f"{owner}: {name}", type_of(name), value) for name, value in settings.items()
    }


def keyword_types(made_by: Callable[..., Any]) -> Callable[[str], Any]:
    """A function from a keyword's name to the type that it is annotated with.

    The type is Any where there is no annotation, or none that can be evaluated here: a user's
    annotation may be any text. Names that the signature does not list have the type of its `**`.

    Args:
        made_by: a class or function.
    """
    try:
        parameters = inspect.signature(made_by, eval_str=True).parameters.values()
    except Exception:
        return lambda name: Any
    types = {p.name: Any if p.annotation is p.empty else p.annotation for p in parameters}
    others = next((types.pop(p.name) for p in parameters if p.kind == p.VAR_KEYWORD), Any)
    return lambda name: types.get(name, others)


def _typed(where: str, kind: Any, value: Any) -> Any:
    # Imported late: objectives are also made on machines that have little more than torch.
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        text = json.dumps(value, allow_nan=False, default=os.fspath)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"{where} = {shown(value)} is not a JSON value") from None
    try:
        found = TypeAdapter(kind).validate_json(text, strict=True)
    except PydanticUserError:
        return value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        inside = "".join(f"[{part!r}]" for part in first["loc"])
        raise ValueError(f"{where}{inside}: {expected(first, value)}") from None
    # 1 is also accepted as a float, but stays 1: settings are hashed as they were given.
    return value if found == value else found


def settings_of(instance: object) -> dict[str, Any]:
    """The settings that an instance was made with, as far as it shows them.

    These are the arguments of its class that it keeps as JSON values in attributes of the same
    name, or of that name after an underscore.
    """
    try:
        parameters = inspect.signature(type(instance)).parameters
    except ValueError:  # not written in Python
        return {}
    found = {}
    for name in parameters:
        value = getattr(instance, name, getattr(instance, f"_{name}", None))
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=False, default=os.fspath))
        except (TypeError, ValueError, RecursionError):
            continue
        if value is None or callable(value):
            del found[name]
    return found
