"""What an image costs in floating-point operations: a multiplication and an addition are two.

Counted by torch's flop counter: matrix products, attention and convolutions; what a network does
element by element is not counted, as is usual.
"""

from __future__ import annotations

import functools

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.nat import NAT, NATConfig


@functools.cache
def pass_flops(config: NATConfig) -> int:
    """Of a forward pass of one image; with guidance a step takes two."""
    with torch.device("meta"):
        nat = NAT(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        classes = torch.zeros(1, dtype=torch.int64)
    # As matrix products, which the counter knows on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        nat(tokens, classes)
    return int(counter.get_total_flops())
