"""Checks that a class or function takes the settings that people gave for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from search.names import did_you_mean

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def require_keywords(
    what: str,
    made_by: Callable[..., Any],
    settings: Mapping[str, Any],
    *first: Any,
    others: Collection[str] | None = None,
) -> None:
    """Refuse settings that a class or function does not take, or without those that it needs.

    Args:
        what: has the settings, for the error: "objective digits".
        made_by: the class or function.
        settings: its keyword arguments, by name.
        first: its arguments before them.
        others: the further names that its `**` takes; None for any.

    Raises:
        ValueError: a setting is unknown or missing; those that exist are listed.
    """
    signature = inspect.signature(made_by)
    after = [*signature.parameters.values()][len(first) :]
    known = {p.name: p.default is p.empty for p in after if p.kind in NAMED}
    takes_more = any(p.kind is p.VAR_KEYWORD for p in after)
    names = [*known, *sorted(others or ())] if takes_more else [*known]
    fault = ""
    try:
        signature.bind(*first, **settings)
    except TypeError as error:
        fault = f": {error}"
    open_ended = takes_more and others is None
    unknown = [] if open_ended else [name for name in settings if name not in names]
    missing = [name for name, needed in known.items() if needed and name not in settings]
    if unknown:
        fault = f" has no setting {unknown[0]}{did_you_mean(unknown[0], names)}"
    elif missing:
        fault = f" needs the setting {missing[0]}"
    if fault:
        raise ValueError(f"{what}{fault}; its settings are: {', '.join(names) or 'none'}")
