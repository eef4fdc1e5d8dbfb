"""What an image costs in floating-point operations: a multiplication and an addition are two.

Counted by torch's flop counter: matrix products, attention and convolutions; what a network does
element by element is not counted, as is usual.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.generators.nat import NAT, NATConfig


@functools.cache
def pass_flops(config: NATConfig, context_tokens: int = 1) -> int:
    """Of a forward pass of one image; with guidance a step takes two.

    Args:
        config: the network's sizes.
        context_tokens: C, of texts.
    """
    with torch.device("meta"):
        nat = NAT(config).eval()
        tokens = torch.zeros((1, config.tokens), dtype=torch.int64)
        conditions = torch.zeros(1, dtype=torch.int64)
        if config.context_width is not None:
            conditions = torch.zeros(1, context_tokens, config.context_width)
    # As matrix products, which the counter knows on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        nat(tokens, conditions)
    return int(counter.get_total_flops())


def decode_flops(tokenizer: nn.Module, grid: tuple[int, int]) -> int:
    """Of turning one image's tokens [h, w] into pixels by a tokenizer that is a network."""
    shadow: Any = copy.deepcopy(tokenizer).to("meta")
    tokens = torch.zeros((1, *grid), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        shadow.decode(tokens)
    return int(counter.get_total_flops())
