"""Optimisers whose model is another library's; each is skipped where its library is missing."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest

from search.first_strategies import first_strategies
from search.measurement import Measurement
from search.optimiser import Budget, Optimiser, Probe
from search.registry import (
    OPTIMISERS,
    OPTIONAL,
    make_optimiser,
    optimiser_class,
    require_optimiser,
)
from search.space import Space
from search.strategy import GenerationStrategy
from search.testing import CHECKS, IMAGES, TOKENS, Case, last, patchy, run

LIBRARY = {"qlognei": "botorch", "smac": "smac"}
MODULE = {"qlognei": "botorch.acquisition", "smac": "ConfigSpace"}
SPACE = Space(GenerationStrategy.maskgit(4))
EVALUATIONS = 15
"""They pay for one or two proposals of the model, which needs ten values."""


@pytest.fixture(params=OPTIONAL)
def name(request: pytest.FixtureRequest) -> str:
    optimiser: str = request.param
    pytest.importorskip(LIBRARY[optimiser], reason=f"pip install 'autonat[{OPTIONAL[optimiser]}]'")
    return optimiser


def make(name: str, evaluations: int, first: bool = False, space: Space = SPACE) -> Optimiser:
    budget = Budget(evaluations * IMAGES, IMAGES)
    return make_optimiser(name, space, budget, 1, {"coordinates": "coarse"}, TOKENS, first)


def bowl(probe: Probe, error: float | None = None) -> Measurement:
    away = SPACE.to_unit(SPACE.to_vector(probe.strategy)) - 0.3
    return Measurement(1 + float(away @ away), error, IMAGES, 1, 0.0)


@pytest.mark.parametrize("optimiser", OPTIONAL)
def test_without_the_library_a_line_says_what_to_install(
    optimiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULE[optimiser], None)
    monkeypatch.delitem(sys.modules, f"search.optimisers.{optimiser}", raising=False)
    require_optimiser(optimiser, "generation")
    assert optimiser not in OPTIMISERS
    line = rf"^optimiser {optimiser}: .* pip install 'autonat\[{OPTIONAL[optimiser]}\]'$"
    with pytest.raises(ValueError, match=line):
        optimiser_class(optimiser)


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_what_optimisers_promise(name: str, check: str) -> None:
    CHECKS[check](Case(name, evaluations=EVALUATIONS - 1))


def test_its_model_finds_lower_values_than_its_first_points(name: str) -> None:
    values = [bowl(probe).value for probe in run(make(name, 18), bowl)]
    assert min(values[14:]) < min(values[:14])


def test_it_resumes_and_begins_with_the_controls(name: str) -> None:
    faulty = functools.partial(patchy, Case("tpe", steps=4))
    probes = run(make(name, 20, True), faulty, workers=4, pick=last)
    first = [*first_strategies(SPACE, TOKENS).values()]
    assert [probe.strategy for probe in probes[:4]] == first
    record = {p.number: faulty(p) for p in probes[:18] if p.number not in (2, 15)}
    resumed = make(name, 20, True)
    assert run(resumed, lambda p: record.get(p.number) or faulty(p), workers=3) == probes


def test_it_searches_choices(name: str) -> None:
    orders = ("confidence", "halton")
    space = Space(SPACE.start, choices={"token_order": orders})
    probes = run(make(name, EVALUATIONS, space=space), bowl)
    assert {probe.strategy.token_order for probe in probes} == {*orders}


def test_nobodys_random_numbers_change(name: str) -> None:
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    run(make(name, EVALUATIONS), bowl)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_qlognei_heeds_the_measured_noise() -> None:
    pytest.importorskip("botorch", reason="pip install 'autonat[botorch]'")

    def asked(error: float | None) -> list[Probe]:
        return run(make("qlognei", EVALUATIONS), lambda probe: bowl(probe, error))

    assert asked(0.01) != asked(10.0)
    assert asked(0.01)[:14] == asked(10.0)[:14]


def test_smac_is_told_values_that_it_can_tell_apart() -> None:
    pytest.importorskip("smac")
    from search.optimisers.smac import LOWEST, positive

    assert positive([1.0, 3.0]) == [1.0, 3.0]
    assert positive([-0.2, -0.2]) == [0.01, 0.01]
    told = positive([0.3, -0.2, -0.1, 1e-7])  # as estimates of KID may be
    assert [told.index(value) for value in sorted(told)] == [1, 2, 3, 0]
    assert min(told) > LOWEST
