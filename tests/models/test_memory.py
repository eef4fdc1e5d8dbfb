from __future__ import annotations

import subprocess
import sys
import weakref

import pytest
import torch
from torch import Tensor, nn

from models.memory import MOST_TOKENS, rows_that_fit, too_small
from models.tokenizers import llamagen, vqgan
from tests.fake_cuda import fake_cuda

HOLES = """
import torch
from models.memory import give_back_freed

def megabytes():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

one = torch.ones(2**20)
del one  # from now on glibc keeps blocks of 4 MiB for itself
blocks = [torch.ones(2**18) for _ in range(200)]
kept = blocks[1::2]
del blocks
before = megabytes()
give_back_freed(torch.zeros(1))
print(before - megabytes(), float(sum(map(torch.sum, kept))) == 100 * 2**18)
"""


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


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed blocks")
def test_freed_memory_goes_back_and_what_is_in_use_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=120
    )
    given_back, whole = done.stdout.split()
    assert int(given_back) > 80
    assert whole == "True"


@pytest.mark.parametrize(
    "decoder",
    [
        vqgan.Decoder(vqgan.VQGANConfig(16, 8, (32, 32, 64), 2)),
        llamagen.Decoder(llamagen.LlamaGenConfig(16, 8, 8, (32, 32, 64), 32, 2)),
    ],
)
def test_no_input_of_a_decoders_part_is_kept_until_the_next(decoder: nn.Module) -> None:
    """Layers of an image of 256 pixels are 34 MB each."""
    inputs: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        alive.append(sum(one() is not None for one in inputs))
        inputs.append(weakref.ref(given[0]))

    parts = [p for p in decoder.modules() if type(p).__name__ in {"ResidualBlock", "Upsampling"}]
    for part in parts:
        part.register_forward_pre_hook(note)
    with torch.inference_mode():
        decoder(torch.randn(1, 8, 4, 4))
    assert len(alive) == len(parts) > 7
    assert max(alive) == 0
