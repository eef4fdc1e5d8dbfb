from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch

from trials.objectives.typed_settings import typed_settings

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]


class Typed:
    def __init__(
        self,
        *,
        count: int = 1,
        share: float = 0.5,
        on: bool = False,
        name: str = "",
        file: Path = Path(),
        maybe: int | None = None,
        kind: Literal["a", "b"] = "a",
        pair: tuple[float, float] = (0, 1),
        many: Sequence[int] = (),
        device: torch.device | str = "cpu",
        untyped: Any = None,
        bare=None,  # type: ignore[no-untyped-def]
        **others: float,
    ) -> None:
        """Nothing."""


class Unreadable:
    def __init__(self, *, count: int = 1, other: Nothing = None) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("count", 5, 5),
        ("share", 1, 1),
        ("share", 1e-4, 1e-4),
        ("on", True, True),
        ("file", "a/b", Path("a/b")),
        ("file", Path("a"), Path("a")),
        ("name", Path("a"), "a"),
        ("maybe", None, None),
        ("pair", [0.9, 0.99], (0.9, 0.99)),
        ("many", [1, 2], [1, 2]),
        ("device", "cuda", "cuda"),
        ("untyped", {"a": [1]}, {"a": [1]}),
        ("bare", True, True),
        ("alpha", 2, 2),
    ],
)
def test_a_value_of_the_type_that_is_asked_for(name: str, value: Any, taken: Any) -> None:
    found = typed_settings("objective x", Typed, {name: value})[name]
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("count", True, "objective x: count: expected a whole number, got True"),
        ("count", 4.7, "count: expected a whole number, got 4.7"),
        ("count", "5", "count: expected a whole number, got '5'"),
        ("count", None, "count: expected a whole number, got None"),
        ("share", "1e-4", "share: expected a number, got '1e-4'"),
        ("share", False, "share: expected a number, got False"),
        ("share", float("nan"), "share = nan is not a JSON value"),
        ("on", "maybe", "on: expected true or false, got 'maybe'"),
        ("on", 1, "on: expected true or false, got 1"),
        ("name", ["a"], "name: expected a text, got ['a']"),
        ("file", 5, "file: expected a text, got 5"),
        ("maybe", 1.5, "maybe: expected a whole number, got 1.5"),
        ("kind", "c", "kind: expected 'a' or 'b', got 'c'"),
        ("pair", [1], "pair[1]: expected a value, got none"),
        ("many", [1, 2.5], "many[1]: expected a whole number, got [1, 2.5]"),
        ("untyped", {1, 2}, "untyped = {1, 2} is not a JSON value"),
        ("alpha", "x", "alpha: expected a number, got 'x'"),
    ],
)
def test_a_value_of_another_type(name: str, value: Any, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        typed_settings("objective x", Typed, {name: value})
    assert "\n" not in str(caught.value)


def test_annotations_that_cannot_be_read_say_nothing() -> None:
    assert typed_settings("objective x", Unreadable, {"count": 4.7}) == {"count": 4.7}
