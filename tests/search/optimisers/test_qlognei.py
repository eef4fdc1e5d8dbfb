"""BoTorch's qLogNoisyExpectedImprovement; skipped where BoTorch is not installed."""

from __future__ import annotations

import functools
import sys

import pytest

from search.first_strategies import first_strategies
from search.measurement import Measurement
from search.optimiser import Budget, Optimiser, Probe
from search.registry import OPTIMISERS, make_optimiser, optimiser_class, require_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from search.testing import CHECKS, IMAGES, TOKENS, Case, last, patchy, run

CASE = Case("qlognei", evaluations=14)
"""One proposal of the model, which needs ten values."""
SPACE = Space(GenerationStrategy.maskgit(4))


def make(evaluations: int, coordinates: str, first: bool = False) -> Optimiser:
    budget = Budget(evaluations * IMAGES, IMAGES)
    settings = {"coordinates": coordinates}
    return make_optimiser("qlognei", SPACE, budget, 1, settings, TOKENS, first)


def bowl(probe: Probe, error: float | None = None) -> Measurement:
    away = SPACE.to_unit(SPACE.to_vector(probe.strategy)) - 0.3
    return Measurement(1 + float(away @ away), error, IMAGES, 1, 0.0)


def test_without_the_library_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botorch.acquisition", None)
    monkeypatch.delitem(sys.modules, "search.optimisers.qlognei", raising=False)
    require_optimiser("qlognei", "generation")
    assert "qlognei" not in OPTIMISERS
    with pytest.raises(ValueError, match=r"^optimiser qlognei.*pip install 'autonat\[botorch\]'$"):
        optimiser_class("qlognei")


class TestWithTheLibrary:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("botorch", reason="pip install 'autonat[botorch]'")

    @pytest.mark.parametrize("check", CHECKS)
    def test_it_keeps_what_optimisers_promise(self, check: str) -> None:
        CHECKS[check](CASE)

    def test_the_model_finds_lower_values_than_its_first_points(self) -> None:
        values = [bowl(probe).value for probe in run(make(18, "coarse"), bowl)]
        assert min(values[13:]) < min(values[:13])

    def test_it_resumes_and_begins_with_the_controls(self) -> None:
        faulty = functools.partial(patchy, Case("tpe", steps=4))
        probes = run(make(18, "coarse", True), faulty, workers=4, pick=last)
        first = [*first_strategies(SPACE, TOKENS).values()]
        assert [probe.strategy for probe in probes[:4]] == first
        record = {p.number: faulty(p) for p in probes[:16] if p.number not in (2, 13)}
        resumed = make(18, "coarse", True)
        assert run(resumed, lambda p: record.get(p.number) or faulty(p), workers=3) == probes

    def test_the_measured_noise_matters(self) -> None:
        def asked(error: float | None) -> list[Probe]:
            return run(make(15, "coarse"), lambda probe: bowl(probe, error))

        assert asked(0.01) != asked(10.0)
        assert asked(0.01)[:13] == asked(10.0)[:13]

    def test_other_random_numbers_do_not_change(self) -> None:
        import torch

        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        run(make(15, "coarse"), bowl)
        assert torch.equal(torch.rand(3), expected)
