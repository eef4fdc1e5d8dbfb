"""Each search of the live page leads to its own run in MLflow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboards.live.links import of_search

ELSEWHERE: Any = SimpleNamespace(optuna="http://127.0.0.1:1/", results=Path)


@pytest.mark.parametrize(
    ("studies", "run"),
    [
        (["first-test", "first-tpe"], "first-test"),
        (["first-tpe"], "first-tpe"),
        (["first-alternation", "first-r1-training-autonat-greedy"], "first-alternation"),
        (["second-test"], None),
    ],
)
def test_the_run_of_a_search(studies: list[str], run: str | None) -> None:
    method = SimpleNamespace(study="first-tpe", study_number=3)
    search: Any = SimpleNamespace(name="first", studies=(method,), test_study=None)
    links = of_search(search, ELSEWHERE, {study: f"#{study}" for study in studies})
    found = {link.words: link.address for link in links}
    assert found.get("MLflow") == (None if run is None else f"#{run}")
    assert found["Optuna"] == "http://127.0.0.1:1/studies/3"
