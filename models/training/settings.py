"""How a NAT is trained: the settings of AutoNAT's section 4.1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.precision import check_precision
from search.training_strategy import TrainingStrategy

TRAINING_PRECISIONS = ("float32", "tf32", "bfloat16")
"""Without float16, whose gradients need scaling."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a NAT is trained. The defaults are the published ones for ImageNet-256.

    Attributes:
        strategy: the distribution of mask ratios.
        steps: optimiser steps.
        batch_size: images a step.
        learning_rate: of AdamW, after warmup_steps of linear warm-up.
        betas: of AdamW.
        weight_decay: of AdamW.
        label_smoothing: in [0, 1).
        class_dropout: chance that a class is replaced by the null class, in [0, 1).
        ema_decay: of the average of weights that is returned, in [0, 1).
        seed: of the weights, batches, masks and dropouts.
        precision: of the network: float32, tf32 or bfloat16 (see models.precision).
        microbatch: images at once, whose gradients add up to the batch's; None: all.

    Raises:
        ValueError: a value outside its range.
    """

    strategy: TrainingStrategy
    steps: int = 500_000
    batch_size: int = 2048
    learning_rate: float = 4e-4
    warmup_steps: int = 5000
    betas: tuple[float, float] = (0.99, 0.99)
    weight_decay: float = 0.03
    label_smoothing: float = 0.1
    class_dropout: float = 0.15
    ema_decay: float = 0.9999
    seed: int = 0
    precision: str = "float32"
    microbatch: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("warmup_steps", 0), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"training {name} = {value!r} is not an integer >= {least}")
        check_precision(self.precision, TRAINING_PRECISIONS)
        if self.microbatch is not None and self.microbatch < 1:
            raise ValueError(f"microbatch = {self.microbatch} is not positive")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate = {self.learning_rate} is not positive and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay = {self.weight_decay} is negative or not finite")
        for name in ("label_smoothing", "class_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is outside [0, 1)")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas} are not both in [0, 1)")
