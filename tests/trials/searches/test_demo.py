"""The demo's settings; benchmarks/demo.py shows what it finds."""

from __future__ import annotations

from search.controls import CONTROLS
from search.optimiser import Budget
from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.searches.demo import DEMO, LETTERS
from trials.searches.launch import check
from trials.searches.reading import read_settings


def test_every_method_of_the_demo_begins_alike_and_meets_every_control(lab: Lab) -> None:
    settings = read_settings(DEMO | {"lab": lab.folder}).completed()
    check(settings, load_objective("digits", {}), lab)
    assert settings.optimisers[0] == "coarse-to-fine"
    assert settings.controls_first
    assert settings.controls == [*CONTROLS]
    budget = settings.budget_of_one()
    assert isinstance(budget, Budget)
    # AutoNAT's reference makes three steps after the four strategies that come first.
    assert (budget.evaluations - 4) // (1 + len(settings.space().names)) >= 3


def test_the_demo_on_letters_is_a_search_that_can_begin(lab: Lab) -> None:
    settings = read_settings(LETTERS | {"lab": lab.folder}).completed()
    check(settings, load_objective("letters", {}), lab)
    assert settings.objective == "letters"
    assert settings.optimisers[0] == "coarse-to-fine"
    assert settings.controls == [*CONTROLS]
