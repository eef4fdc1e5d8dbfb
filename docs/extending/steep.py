"""An objective of your own: any class that measures a strategy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autonat import GenerationStrategy, Measurement


class Steep:
    """Pretends to be a generator that needs high guidance in its last step.

    Args:
        wanted: the best guidance scale.
    """

    tokens = 16

    def __init__(self, *, wanted: float = 2.0) -> None:
        if wanted < 0:
            raise ValueError(f"wanted = {wanted} is negative")
        self.wanted = wanted

    def describe(self) -> Mapping[str, Any]:
        """Return what a strategy file records of the objective."""
        return {"dataset": "none", "protocol": {"features": "made up"}}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """Return a value with a bias of 50/n and a standard error of 4/sqrt(n), similar to FID."""
        error = 4 / images**0.5
        apart = abs(strategy.guidance_scale[-1] - self.wanted)
        value = 9 + apart + 50 / images + error * np.random.default_rng(seed).normal()
        return Measurement(float(value), error, images, strategy.forward_passes(), 0.0)
