"""Compiled steps of a training are its steps, and give way where compiling fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

import models.compiled_rows
from models.generators.nat import NAT, NATConfig
from models.training.masked_loss import draw_batch
from models.training.settings import TrainingSettings
from models.training.steps import Steps
from search.training_strategy import TrainingStrategy

CONFIG = NATConfig(7, 16, 3, 16, 2, 2, dropout=0.0)
SETTINGS = TrainingSettings(TrainingStrategy("uniform"), steps=10, batch_size=8, warmup_steps=2)


def trained(backend: Any) -> tuple[list[float], list[Tensor]]:
    """The losses of some steps, and the weights that they lead to."""
    torch.manual_seed(0)
    nat = NAT(CONFIG).train()
    optimiser = torch.optim.AdamW(nat.parameters(), lr=SETTINGS.learning_rate)
    average = AveragedModel(nat)  # type: ignore[no-untyped-call]
    steps = Steps(nat, nat, average, optimiser, SETTINGS, fixed=True)
    if backend is not None:
        steps.compile(backend)
    tokens, classes = torch.arange(320).view(20, 16) % 7, torch.arange(20) % 3
    losses = []
    for step in range(4):
        batches = draw_batch(nat, SETTINGS, tokens, classes, step)
        losses.append(steps.take(batches, step).item())
    return losses, [parameter.detach() for parameter in nat.parameters()]


def test_compiled_once_for_all_steps_they_lead_to_the_same_weights() -> None:
    compiled: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        compiled.append(len(inputs))
        return graph

    (losses, weights), (expected, same) = trained(counting), trained(None)
    assert losses == pytest.approx(expected, rel=1e-5)
    for one, other in zip(weights, same, strict=True):
        torch.testing.assert_close(one, other)
    assert len(compiled) == 1


def test_where_compiling_fails_steps_are_taken_as_they_are(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(models.compiled_rows, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert trained(broken)[0] == trained(None)[0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("training steps are not compiled: ")


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NAT, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trained(None)
