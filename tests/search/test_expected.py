"""Errors of pydantic in our words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from search.expected import expected


@pytest.mark.parametrize(
    ("kind", "value", "line"),
    [
        (int, "x", "expected a whole number, got 'x'"),
        (int, 4.7, "expected a whole number, got 4.7"),
        (bool, "maybe", "expected true or false, got 'maybe'"),
        (list[int], 3, "expected a list, got 3"),
        (Annotated[int, Field(gt=0)], -5, "expected a number above 0, got -5"),
        (Annotated[float, Field(le=0.5)], 2.0, "expected a number of at most 0.5, got 2.0"),
        (tuple[int, int], [1], "expected a value, got none"),
        (Annotated[list[int], Field(min_length=2)], [1], "expected at least 2 of them, got [1]"),
        (Literal["a", "b"], "c", "expected 'a' or 'b', got 'c'"),
        (Annotated[str, Field(pattern="^a")], "b", "String should match pattern '^a' (got 'b')"),
    ],
)
def test_what_was_expected_and_got(kind: Any, value: object, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, strict=kind != tuple[int, int])
    assert expected(caught.value.errors()[0], value) == line
