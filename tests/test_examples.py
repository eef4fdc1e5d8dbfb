"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from search.plugins import Registry

MODULES = (
    "models.features.features",
    "models.generators.conditions",
    "models.metrics.metric",
    "models.tokenizers.tokenizer",
    "search.plugins",
    "search.strategy",
    "search.training_strategy",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(name)
    for registry in vars(module).values():
        if isinstance(registry, Registry):  # what an example registers is forgotten after it
            monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
