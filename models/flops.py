"""What an image costs in floating-point operations: a multiplication and an addition are two.

Counted by torch's flop counter: matrix products, attention and convolutions; what a network does
element by element is not counted, as is usual.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def counted_flops(compute: Callable[[], object]) -> int:
    """Floating-point operations of whatever `compute` computes with torch.

    On the meta device (`with torch.device("meta")`, or `network.to("meta")`) nothing is computed,
    only counted.
    """
    # As matrix products, which the counter knows on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        compute()
    return int(counter.get_total_flops())


def decode_flops(tokenizer: nn.Module, grid: tuple[int, int]) -> int:
    """Of turning one image's tokens [h, w] into pixels by a tokenizer that is a network."""
    shadow: Any = copy.deepcopy(tokenizer).to("meta")
    tokens = torch.zeros((1, *grid), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        shadow.decode(tokens)
    return int(counter.get_total_flops())
