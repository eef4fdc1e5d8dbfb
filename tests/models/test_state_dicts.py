"""Networks without numbers, and checkpoints whose tensors they take."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from models.state_dicts import with_weights, without_numbers

MADE = """
import sys
from torch import nn
from models.state_dicts import without_numbers
with without_numbers():
    nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3), nn.Conv2d(3, 2, 3))
print("torch._dynamo" in sys.modules)
"""


def test_a_network_without_numbers_has_its_shapes_and_imports_no_compiler() -> None:
    with without_numbers():
        network, tensor = nn.Embedding(5, 4), torch.zeros(2)
    assert network.weight.is_meta
    assert network.weight.shape == (5, 4)
    assert tensor.is_meta
    assert not nn.Embedding(5, 4).weight.is_meta
    found = subprocess.run([sys.executable, "-c", MADE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_network_shares_the_tensors_of_its_checkpoint() -> None:
    state = nn.Linear(4, 3).state_dict()
    made = with_weights(lambda: nn.Linear(4, 3), state)
    assert made.weight.data_ptr() == state["weight"].data_ptr()
    assert not made.training
    with pytest.raises(ValueError, match="the checkpoint lacks bias"):
        with_weights(lambda: nn.Linear(4, 3), {"weight": state["weight"]})
