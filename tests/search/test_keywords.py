"""Settings that a class does not take."""

from __future__ import annotations

import re
from typing import Any

import pytest

from search.keywords import require_keywords


class Made:
    def __init__(self, path: str, *, width: int, depth: int = 3) -> None: ...


def of_any(*, width: int, **others: float) -> None: ...


@pytest.mark.parametrize(
    ("made_by", "settings", "first", "line"),
    [
        (
            Made,
            {"width": 1, "widht": 2},
            ("x",),
            "it has no setting widht (did you mean width?); its settings are: width, depth",
        ),
        (Made, {"depth": 1}, ("x",), "it needs the setting width; its settings are: width, depth"),
        (Made, {"width": 1}, (), "it needs the setting path; its settings are: path, width, depth"),
        (of_any, {"size": 1}, (), "it needs the setting width; its settings are: width"),
        (lambda: None, {"size": 1}, (), "it has no setting size; its settings are: none"),
        (lambda: None, {}, ("x",), "it: too many positional arguments; its settings are: none"),
    ],
)
def test_one_line(
    made_by: Any, settings: dict[str, Any], first: tuple[str, ...], line: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        require_keywords("it", made_by, settings, *first)


def test_names_that_its_stars_take() -> None:
    require_keywords("it", of_any, {"width": 1, "alpha": 2.0}, others=["alpha"])
    with pytest.raises(ValueError, match="^it has no setting size; its settings.*: width, alpha$"):
        require_keywords("it", of_any, {"width": 1, "size": 2.0}, others=["alpha"])


def test_what_fits() -> None:
    require_keywords("it", Made, {"width": 1}, "x")
    require_keywords("it", of_any, {"width": 1, "other": 2.0})
