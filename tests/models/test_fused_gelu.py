"""A linear layer with GELU in one operation computes what the two compute apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models.fused_gelu
from models.fused_gelu import fused, linear_gelu


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 12)


@torch.inference_mode()
def test_the_operation_is_the_product_and_gelu(layer: nn.Linear) -> None:
    x = 3 * torch.randn(2, 5, 8)
    found = fused(x, layer.weight, layer.bias)
    assert found.shape == (2, 5, 12)
    torch.testing.assert_close(found, F.gelu(layer(x)), atol=5e-4, rtol=0)


@torch.inference_mode()
def test_compilers_keep_it_whole(layer: nn.Linear) -> None:
    graphs: list[str] = []

    def reading(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph.code)
        return graph

    run = torch.compile(lambda x: fused(x, layer.weight, layer.bias), backend=reading)
    x = torch.randn(2, 5, 8)
    assert torch.equal(run(x), fused(x, layer.weight, layer.bias))
    assert len(graphs) == 1
    assert "linear_gelu" in graphs[0]


@pytest.mark.parametrize(
    ("dtype", "weights", "gradients", "expected"),
    [
        (torch.bfloat16, torch.bfloat16, False, True),
        (torch.bfloat16, torch.bfloat16, True, False),
        (torch.bfloat16, torch.float32, False, False),
        (torch.float32, torch.float32, False, False),
    ],
)
def test_only_bfloat16_on_a_gpu_without_gradients_is_in_one_kernel(
    layer: nn.Linear,
    dtype: torch.dtype,
    weights: torch.dtype,
    gradients: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[torch.Tensor] = []
    monkeypatch.setattr(models.fused_gelu, "fused", lambda x, *_: calls.append(x))
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    x = torch.randn(4, 8, dtype=dtype)
    with torch.set_grad_enabled(gradients), torch.autocast("cpu", enabled=dtype != weights):
        linear_gelu(layer.to(weights), x)
    assert bool(calls) == expected


def test_gradients_and_other_devices_have_the_two_apart(layer: nn.Linear) -> None:
    x = torch.randn(4, 8)
    found = linear_gelu(layer, x)
    assert torch.equal(found, F.gelu(layer(x)))
    found.sum().backward()
    assert layer.weight.grad is not None
