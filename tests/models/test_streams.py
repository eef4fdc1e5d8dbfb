from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.streams import ahead
from tests.fake_cuda import FakeStream, fake_cuda

happened: list[str] = []


def rounds() -> Iterator[list[Tensor]]:
    for number in range(3):
        happened.append(f"make {number}")
        yield [torch.full((2,), number), torch.full((1,), number)]


def used() -> list[list[int]]:
    happened.clear()
    found = []
    for tensors in ahead(rounds()):
        number = int(tensors[0][0])
        happened.append(f"use {number}")
        found.append([len(tensor) for tensor in tensors])
    return found


def test_on_the_cpu_a_round_is_made_when_it_is_asked_for() -> None:
    assert used() == [[2, 1]] * 3
    assert happened == ["make 0", "use 0", "make 1", "use 1", "make 2", "use 2"]
    assert list(ahead(iter([]))) == []


def test_on_a_gpu_the_next_round_is_made_first_and_each_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Noting(FakeStream):
        def wait_stream(self, other: torch.Stream) -> None:
            happened.append("maker waits")

        def wait_event(self, event: object) -> None:
            happened.append("user waits")

    with fake_cuda(monkeypatch):
        monkeypatch.setattr(torch.cuda, "Stream", Noting)
        monkeypatch.setattr(torch.cuda, "current_stream", Noting)
        assert used() == [[2, 1]] * 3
        assert list(ahead(iter([]))) == []
    assert happened[:-1] == [
        *("maker waits", "make 0"),
        *("make 1", "user waits", "use 0"),
        *("make 2", "user waits", "use 1"),
        *("user waits", "use 2"),
    ]
