"""A fifth schedule, and an objective that uses it."""

from collections.abc import Mapping
from typing import Any

from autonat import GenerationStrategy, Measurement
from search.bound import Bound
from search.schedules import Schedule, register

register(
    Schedule(
        name="noise_scale",
        about="the scale of the noise on my logits",
        rule_of_thumb=lambda steps: (1.0,) * steps,
        bound=lambda steps: Bound(0.1, 10.0, log=True),
    )
)


class Noisy:
    """Pretends to be a generator that needs little noise in its first step.

    The schedule is searched if it has bounds: --bounds noise_scale=0.1:10:log.
    """

    tokens = 16
    heeds = ("noise_scale",)

    def describe(self) -> Mapping[str, Any]:
        """Return what a strategy file records of the objective."""
        return {"dataset": "none"}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """Return a value that is lowest at a noise of 0.3."""
        scales = strategy.schedule("noise_scale") or (1.0,)
        value = 5 + abs(scales[0] - 0.3) + 50 / images + seed % 97 / 1000
        return Measurement(value, None, images, strategy.forward_passes(), 0.0)
