"""The conformance suite passes somebody's own optimiser, and finds what is broken."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from docs.extending.spsa import SPSA
from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Probe, Signal
from search.registry import (
    OPTIMISERS_BY_NAME,
    default_settings,
    make_optimiser,
    require_optimiser,
    searches_of,
)
from search.space import Space
from search.testing import CHECKS, Case, check_optimiser

SPSA_NAME = "docs.extending.spsa:SPSA"


def test_an_optimiser_in_one_file() -> None:
    check_optimiser(SPSA_NAME, evaluations=15)
    assert default_settings(SPSA_NAME) == {"gain": 0.05, "width": 0.05}
    assert searches_of(SPSA_NAME) == ("generation", "training", "joint")


def test_a_registered_name_is_known() -> None:
    OPTIMISERS_BY_NAME.register("spsa")(SPSA)
    try:
        require_optimiser("spsa", "joint")
        check_optimiser("spsa", evaluations=9)
        with pytest.raises(
            ValueError, match=r"'spsb' \(did you mean spsa\?\); known: coarse-.*, spsa"
        ):
            require_optimiser("spsb", "generation")
    finally:
        OPTIMISERS_BY_NAME._registered.clear()


class ByChance(SPSA):
    def direction(self, pair):  # type: ignore[no-untyped-def]
        return super().direction(random.randrange(10**6))


class Impatient(SPSA):
    def ask(self) -> Probe | Signal:
        probe = super().ask()
        return WAIT if probe is DONE else probe


class Forgetful(SPSA):
    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        if probe.number in self.ledger._in_flight:
            super().tell(probe, result)


class Hasty(SPSA):
    """Moves on whatever it happens to know."""

    def ask(self) -> Probe | Signal:
        told = self.ledger._values.get(len(self.ledger) - 1)
        self.here = self.here if told is None else self.here * 0.9
        return super().ask()


class Nameless(SPSA):
    def __init__(self, space, budget, seed, *, gain, width=0.1):  # type: ignore[no-untyped-def]
        super().__init__(space, budget, seed, gain=gain, width=width)


class OnlyNumbers(SPSA):
    """Leaves choices as they are at the start, and does not say so."""

    def __init__(self, space, budget, seed, *, gain=0.05, width=0.05):  # type: ignore[no-untyped-def]
        numbers = replace(space, choices={}) if isinstance(space, Space) else space
        super().__init__(numbers, budget, seed, gain=gain, width=width)


class Everywhere(SPSA):
    searches = ("everything",)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (ByChance, "it is not deterministic"),
        (Impatient, "ask answered WAIT while no probe was in flight"),
        (Forgetful, "tell accepted a probe that it never asked for"),
        (Hasty, "depends on when results arrive"),
        (OnlyNumbers, "the choice token_order, confidence, random, .* got only confidence"),
        (Nameless, "the setting gain has no default"),
        (Everywhere, r"expected searches to be a tuple of .*, got \('everything',\)"),
    ],
)
def test_what_is_broken_is_said(broken: type[SPSA], line: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=line):
        check_optimiser(f"tests.search.test_testing:{broken.__name__}", evaluations=11)


def test_each_promise_can_be_asked_alone() -> None:
    CHECKS["a_probe_is_told_once"](Case(SPSA_NAME))


def test_what_searches_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="autonat-greedy searches training strategies, not gen"):
        require_optimiser("autonat-greedy", "generation")
    case = Case("autonat-greedy")
    with pytest.raises(ValueError, match="autonat-greedy does not search Space"):
        make_optimiser("autonat-greedy", case.space(), case.budget(), 0)
