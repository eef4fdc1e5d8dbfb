"""A linear layer with GELU, in one kernel where a GPU has one.

The product then adds the bias and applies GELU before it writes its result, which saves a pass over
the widest activations of a network. That kernel has GELU in its form with tanh, which differs by at
most 5e-4. A block of AutoNAT-L in bfloat16 is no further from float32 with it (see docs/gpu.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return GELU(layer(x)); in bfloat16 on a GPU, and without gradients, in one kernel.

    Args:
        layer: has a bias.
        x: [..., D].
    """
    half = x.dtype == layer.weight.dtype == torch.bfloat16
    if x.is_cuda and half and not torch.is_grad_enabled():
        found: Tensor = fused(x, layer.weight, layer.bias)
        return found
    return F.gelu(layer(x))


# An operation of our own, because compilers would take the product and GELU apart again.
@torch.library.custom_op("autonat::linear_gelu", mutates_args=())
def fused(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return GELU of the product of x [..., D] and a weight [E, D], plus a bias [E]."""
    flat = torch._addmm_activation(bias, x.flatten(0, -2), weight.mT, use_gelu=True)
    return flat.view(*x.shape[:-1], len(weight))


@fused.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(weight)))
