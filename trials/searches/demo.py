"""The settings of the demos.

They are chosen so that a demo takes minutes on 2 cores, and so that the strategy which
coarse-to-fine finds can be told from the best control; docs/digits.md says how often that succeeds,
and docs/letters.md what one demo on letters found.
"""

from __future__ import annotations

from typing import Any

from search.controls import CONTROLS

METHODS = ("coarse-to-fine", "autonat-reference", "gp", "cmaes", "tpe")

DEMO: dict[str, Any] = {
    "optimisers": list(METHODS),
    "steps": 4,
    "budget": 20_000,
    "images_per_evaluation": 400,
    "controls_first": True,
    "controls": list(CONTROLS),
    "test_images": 1000,
    "test_seeds": [1, 2, 3, 4],
}
"""Settings that differ from the defaults of a search."""

LETTERS: dict[str, Any] = DEMO | {
    "objective": "letters",
    "optimisers": ["coarse-to-fine", "gp", "cmaes"],
    "optimiser_settings": {"coarse-to-fine": {"gradients": True}},
    "budget": 16_000,
    "test_seeds": [1, 2],
}
"""Settings of the demo on letters, which costs more for each image."""
