"""The digits of scikit-learn: 1,797 real 8 x 8 images whose grey levels 0 to 16 are the tokens."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor

SIDE = 8
TOKENS = SIDE * SIDE
LEVELS = 17
CLASSES = 10


def digits() -> tuple[Tensor, Tensor]:
    """Load the tokens [1797, 64] int64 in [0, 16] and classes [1797] int64 in [0, 9]."""
    data = load_digits()
    return torch.tensor(data.data).long(), torch.tensor(data.target).long()


def tokens_to_images(tokens: Tensor) -> Tensor:
    """Convert tokens [B, 64] to grey images [B, 8, 8] float32 in [0, 1]."""
    return tokens.view(-1, SIDE, SIDE).float() / (LEVELS - 1)
