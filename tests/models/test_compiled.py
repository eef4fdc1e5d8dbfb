"""Compiled forward passes compute what the generator computes, and give way where they fail."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

import models.compiled_rows
from models.compiled import CompiledGenerator
from models.decoding import generate
from models.generators.conditions import Conditions
from models.generators.generator import PredictsPlaces
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy

CONFIG = NATConfig(17, 16, 10, 8, 0, 2)


class Counting:
    """A backend that compiles nothing and counts the graphs that it is given."""

    graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        self.graphs += 1
        return graph


@pytest.fixture
def generator() -> NATGenerator:
    torch.manual_seed(0)
    return NATGenerator(CONFIG, GreyLevels(17, (4, 4)), nat=NAT(CONFIG).eval())


@torch.inference_mode()
def test_any_number_of_rows_has_the_generators_logits(generator: NATGenerator) -> None:
    counting = Counting()
    compiled = CompiledGenerator(generator, 8, backend=counting)
    for rows in (8, 6, 5, 4, 1, 9):
        tokens, classes = torch.randint(18, (rows, 16)), Conditions(torch.arange(rows) % 10)
        assert torch.allclose(compiled(tokens, classes), generator(tokens, classes), atol=1e-6)
    assert counting.graphs == 1  # compiled once: fewer rows were padded, or computed without


@torch.inference_mode()
def test_a_step_that_sets_no_token_asks_for_nothing(generator: NATGenerator) -> None:
    late = GenerationStrategy.maskgit(6).with_values(
        {"mask_ratio": [0.0] * 5, "guidance_scale": [0.0] * 6}, {"token_order": "halton"}
    )
    assert late.masked_counts(16)[1:3] == late.masked_counts(16)[2:4]
    compiled = CompiledGenerator(generator, 5, backend=Counting())
    classes = Conditions(torch.arange(5))
    one, other = (
        generate(which, classes, late, torch.Generator().manual_seed(0))
        for which in (compiled, generator)
    )
    assert torch.equal(one, other)


@torch.inference_mode()
def test_any_number_of_positions_is_compiled_once(generator: NATGenerator) -> None:
    counting = Counting()
    compiled = CompiledGenerator(generator, 8, backend=counting)
    assert isinstance(compiled, PredictsPlaces)
    for rows, count in ((8, 5), (6, 16), (8, 1), (5, 2), (3, 4), (8, 9)):
        tokens, classes = torch.randint(18, (rows, 16)), Conditions(torch.arange(rows) % 10)
        places = torch.rand(rows, 16).argsort(1)[:, :count]
        found = compiled.logits_at(tokens, classes, places)
        assert found.shape == (rows, count, 17)
        assert torch.allclose(found, generator.logits_at(tokens, classes, places), atol=1e-6)
    assert counting.graphs == 1


@torch.inference_mode()
def test_where_compiling_fails_the_generator_computes_and_a_warning_says_so_once(
    generator: NATGenerator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(models.compiled_rows, "_said", set())
    tokens, classes = torch.full((8, 16), 17), Conditions(torch.arange(8))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            compiled = CompiledGenerator(generator, 8, backend=broken)
            for _ in range(2):
                assert torch.equal(compiled(tokens, classes), generator(tokens, classes))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("forward passes are not compiled: ")
    assert "no compiler at all" in line


@torch.inference_mode()
def test_too_little_memory_is_no_reason_to_go_on_without(generator: NATGenerator) -> None:
    compiled = CompiledGenerator(generator, 8, backend="eager")

    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("full")

    compiled._forward._compiled = full
    with pytest.raises(torch.OutOfMemoryError):
        compiled(torch.full((8, 16), 17), Conditions(torch.arange(8)))
