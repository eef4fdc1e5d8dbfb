"""What a setting of the wrong type or size should have been, in words.

pydantic's own messages speak of inputs, integers and strings, as programmers do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.reading import shown

TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "values by name",
    "model_type": "values by name",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "extra_forbidden": "no such setting",
    "too_short": "at least {min_length} of them",
}
"""By pydantic's types of errors, with the names of their contexts."""


def expected(error: Mapping[str, Any], given: Any) -> str:
    """Say what was expected and what was given: "expected a whole number, got 4.7".

    Args:
        error: one of `ValidationError.errors()`.
        given: the value.

    Returns:
        These words, or pydantic's message with the value where it says more.
    """
    if error["type"] == "missing":  # pydantic gives what surrounds it
        return "expected a value, got none"
    words = TYPES.get(error["type"])
    if words is None:
        return f"{error['msg'].removeprefix('Value error, ')} (got {shown(given)})"
    limits = {name: _short(limit) for name, limit in error.get("ctx", {}).items()}
    return f"expected {words.format(**limits)}, got {shown(given)}"


def _short(limit: Any) -> Any:
    """0 in place of 0.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit
