"""The Python interface: `import autonat`, then `autonat.search(...)`; docs/python.md has examples.

Each name is imported from another module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.controls import CONTROLS as CONTROLS
    from search.final_test import FinalTest as FinalTest
    from search.measurement import Measurement as Measurement
    from search.registry import OPTIMISERS as OPTIMISERS
    from search.space import Space as Space
    from search.strategy import GenerationStrategy as GenerationStrategy
    from search.strategy_file import StrategyFile as StrategyFile
    from search.training_strategy import TrainingStrategy as TrainingStrategy
    from trials.lab import Lab as Lab
    from trials.objectives.objective import OBJECTIVES as OBJECTIVES
    from trials.objectives.objective import Objective as Objective
    from trials.python import Search as Search
    from trials.python import evaluate as evaluate
    from trials.python import load as load
    from trials.python import search as search

PLACES = {
    "search": "trials.python",
    "load": "trials.python",
    "evaluate": "trials.python",
    "Search": "trials.python",
    "GenerationStrategy": "search.strategy",
    "TrainingStrategy": "search.training_strategy",
    "StrategyFile": "search.strategy_file",
    "FinalTest": "search.final_test",
    "Measurement": "search.measurement",
    "Space": "search.space",
    "CONTROLS": "search.controls",
    "OPTIMISERS": "search.registry",
    "Objective": "trials.objectives.objective",
    "OBJECTIVES": "trials.objectives.objective",
    "Lab": "trials.lab",
}
"""The module of each name."""

__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"autonat has no {name!r}; it has: {', '.join(sorted(PLACES))}")
    return getattr(importlib.import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(PLACES)
