"""The settings of a NAT's training (AutoNAT, section 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.precision import StagePrecisions, check_precision
from search.training_strategy import TrainingStrategy

TRAINING_PRECISIONS = ("float32", "tf32", "bfloat16")
"""Precisions for training; float16 is missing, because its gradients would need scaling."""


def training_precision(precision: str) -> str:
    """Return the precision of training that goes with a precision of an evaluation.

    It is that of the tokens where training supports it, else float32.

    Raises:
        ValueError: the precision is unknown.
    """
    tokens = StagePrecisions.parse(precision).tokens
    return tokens if tokens in TRAINING_PRECISIONS else "float32"


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a NAT's training. The defaults are those published for ImageNet-256.

    Attributes:
        strategy: the distribution of mask ratios.
        steps: the number of optimiser steps.
        batch_size: the number of images a step.
        learning_rate: the learning rate of AdamW after the warm-up.
        warmup_steps: the number of steps in which the learning rate rises linearly from 0.
        betas: the betas of AdamW.
        weight_decay: the weight decay of AdamW.
        label_smoothing: the label smoothing, in [0, 1).
        class_dropout: the probability that a condition is replaced by the null condition, in
            [0, 1).
        ema_decay: the decay of the moving average of weights that is returned, in [0, 1).
        seed: the seed of the weights, batches, masks and dropouts.
        precision: the precision of the network: float32, tf32 or bfloat16 (see models.precision).
        microbatch: the number of images whose gradients are computed at once; None for the whole
            batch.

    Raises:
        ValueError: a value is out of range.
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
        micro = self.microbatch
        if micro is not None and (type(micro) is not int or micro < 1):
            raise ValueError(f"microbatch = {micro!r} is not an integer >= 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate = {self.learning_rate} is not positive and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay = {self.weight_decay} is negative or not finite")
        for name in ("label_smoothing", "class_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is outside [0, 1)")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas}: expected two numbers in [0, 1)")
