"""Every registered optimiser asks for the same probes as ever.

What is exact: each digit of all probes, with the version of Optuna that the file was made with
(another is skipped, for its samplers may propose something else) and on a machine of the same
arithmetic. On a machine that differs in its last digits, optimisers that learn with linear algebra
soon ask for something else by rightful means; there the first three probes are compared to a
relative 1e-6, and what was not seen is said by a skip.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

from benchmarks.reference_numbers import arithmetic
from benchmarks.reference_probes import FILE, searches, summary
from search.registry import ALL_OPTIMISERS

KEPT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
SEARCHES = {name: (make, failing) for name, make, failing in searches()}


def test_every_registered_optimiser_is_among_them() -> None:
    assert list(SEARCHES) == list(KEPT["searches"])
    assert {name.split(", ")[1] for name in SEARCHES} == set(ALL_OPTIMISERS)


@pytest.mark.parametrize("name", KEPT["searches"])
def test_the_search_asks_the_same_probes(name: str) -> None:
    if (ours := version("optuna")) != (theirs := KEPT["made with"]["optuna"]):
        pytest.skip(f"the probes are those of Optuna {theirs}, and {ours} is installed")
    kept = KEPT["searches"][name]
    make, failing = SEARCHES[name]
    found = summary(make, failing)
    if arithmetic() == KEPT["made with"]["arithmetic"]:
        assert found == kept
        return
    for probe, expected in zip(found["first"], kept["first"], strict=True):
        strategy = pytest.approx(expected.pop("strategy"), rel=1e-6)
        assert probe.pop("strategy") == strategy
        assert probe == expected
    if found["sha256"] != kept["sha256"]:
        pytest.skip("this machine's last digits differ: only the first three probes were compared")
