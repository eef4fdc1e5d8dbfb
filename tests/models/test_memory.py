from __future__ import annotations

import pytest
import torch

from models.memory import MOST_TOKENS, rows_that_fit, too_small
from tests.fake_cuda import fake_cuda


def test_rows_are_halved_until_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    with fake_cuda(monkeypatch):  # of 64 GiB free; 1 MiB used
        assert rows_that_fit(256, 100, lambda: tried.append(1)) == MOST_TOKENS // 256
        assert rows_that_fit(MOST_TOKENS + 1, 1, lambda: None) == 1
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**34)
        # 16 GiB for 100 images, and 32 GiB may be used: 200 images.
        assert rows_that_fit(256, 100, lambda: None) == MOST_TOKENS // 256 // 4
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**40)
        assert rows_that_fit(256, 1, lambda: None) == 1
    assert tried == [1]


def test_how_much_is_needed_for_one_image_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.50 GiB. GPU 0 has …")
    assert str(too_small(error)) == f"no memory for a single image: {error}"
    with fake_cuda(monkeypatch):
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2**29)
        said = str(too_small(error))
    assert said.startswith(
        "no memory for a single image: at least 4.00 GiB are needed, the GPU has 128.00 GiB; CUDA"
    )
