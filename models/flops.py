"""Floating-point operations per image; a multiplication and an addition count as two.

torch's counter counts matrix products, attention and convolutions, but, as usual, no elementwise
operations.
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
    """Count the floating-point operations that `compute` performs with torch.

    On the meta device (`with torch.device("meta")`, or `network.to("meta")`) the operations are
    only counted, not performed.
    """
    # Attention by plain matrix products, which the counter knows on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        compute()
    return int(counter.get_total_flops())


def decode_flops(tokenizer: nn.Module, grid: tuple[int, int]) -> int:
    """Count the operations with which a network decodes an image from its tokens [h, w]."""
    # A copy without numbers: a whole one would need the memory of the weights again.
    shadows: dict[int, Any] = {id(p): nn.Parameter(p.to("meta")) for p in tokenizer.parameters()}
    shadows |= {id(b): b.to("meta") for b in tokenizer.buffers()}
    shadow: Any = copy.deepcopy(tokenizer, shadows)
    tokens = torch.zeros((1, *grid), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        shadow.decode(tokens)
    return int(counter.get_total_flops())
