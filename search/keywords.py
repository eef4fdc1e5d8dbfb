"""Checks that a class or function takes the settings that people gave for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def require_keywords(
    what: str, made_by: Callable[..., Any], settings: Mapping[str, Any], *first: Any
) -> None:
    """Refuse settings that a class or function does not take, or without those that it needs.

    Args:
        what: has the settings, for the error: "objective digits".
        made_by: the class or function.
        settings: its keyword arguments, by name.
        first: its arguments before them.

    Raises:
        ValueError: a setting is unknown or missing; those that exist are listed.
    """
    signature = inspect.signature(made_by)
    try:
        signature.bind(*first, **settings)
    except TypeError as error:
        after = [*signature.parameters.values()][len(first) :]
        known = {p.name: p.default is p.empty for p in after if p.kind in NAMED}
        unknown = [name for name in settings if name not in known]
        missing = [name for name, needed in known.items() if needed and name not in settings]
        said = f": {error}"
        if missing:
            said = f" needs the setting {missing[0]}"
        elif unknown:
            said = f" has no setting {unknown[0]}"
        listed = ", ".join(known) or "none"
        raise ValueError(f"{what}{said}; its settings are: {listed}") from None
