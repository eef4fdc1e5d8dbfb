"""An objective of your own with optional methods: prepare, check, two metrics, growing n, samples,
anchors."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonat import GenerationStrategy, Measurement, Space
from search.controls import CONSTANT_IMAGE, REAL_IMAGES
from search.progress import Report

Values = npt.NDArray[np.float64]
MEASURED: Mapping[str, Callable[[Values], Values]] = {
    "brightness": lambda pictures: pictures.mean((1, 2)),
    "contrast": lambda pictures: pictures.std((1, 2)),
}


def known(metric: str) -> str:
    """Return the name of a metric, or refuse it."""
    if metric not in MEASURED:
        raise ValueError(f"expected the metric {' or '.join(MEASURED)}, got {metric!r}")
    return metric


class Pictures:
    """Pretends to generate grey pictures of 4 x 4 pixels, and measures brightness or contrast."""

    tokens = 16

    def __init__(self, metric: str = "brightness") -> None:
        self.metric = known(metric)

    def in_metric(self, metric: str) -> "Pictures":
        """Return the same objective in another metric, for --test-metric."""
        found = copy.copy(self)  # which shares the real pictures
        found.metric = known(metric)
        return found

    def prepare(self, lab: Path, report: Report) -> None:
        """Make the real pictures once, in the driver, and keep them in the lab."""
        file = lab / "pictures.npy"
        if not file.exists():
            report(0, 1, "drawing real pictures")
            np.save(file, np.random.default_rng(0).random((1000, 4, 4)))
        self.real = np.load(file)

    def check(self, space: Space, images: int) -> None:
        """Refuse a search that cannot be measured, before anything is prepared."""
        if images < 2:
            raise ValueError(f"expected at least 2 images for a standard error, got {images}")

    def describe(self) -> Mapping[str, Any]:
        """Return what a strategy file records of the objective."""
        return {"dataset": "noise", "protocol": {"metric": self.metric, "features": "pixels"}}

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """Measure the mean squared difference from real pictures."""
        (found,) = self.evaluate_growing(strategy, (images,), seed)
        return found

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """Measure at each n of `rungs`; --scheduler asha can stop after any of them."""
        began, random = time.perf_counter(), np.random.default_rng(seed)
        pictures = np.empty((0, 4, 4))
        for images in rungs:
            more = self.generate(strategy, images - len(pictures), random)
            pictures = np.concatenate([pictures, more])
            errors = 100 * (self.of(pictures) - self.of(self.real).mean()) ** 2
            error = float(errors.std(ddof=1) / images**0.5)
            passes, seconds = strategy.forward_passes(), time.perf_counter() - began
            value = float(errors.mean())
            yield Measurement(value, error, images, passes, seconds, metric=self.metric)

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """Return pictures for the report."""
        pictures = self.generate(strategy, images, np.random.default_rng(seed))
        return (255 * pictures).astype(np.uint8)

    def anchors(self, images: int) -> Mapping[str, float]:
        """Return the values of real pictures and of a black one."""
        real = self.of(self.real)
        black = 100 * float(real.mean() ** 2)
        return {REAL_IMAGES: 100 * float(real.var()), CONSTANT_IMAGE: black}

    def of(self, pictures: Values) -> Values:
        """Return what is measured of each of the pictures [n, 4, 4], as [n]."""
        return MEASURED[self.metric](pictures)

    def generate(
        self, strategy: GenerationStrategy, images: int, random: np.random.Generator
    ) -> Values:
        """Draw pictures [n, 4, 4] in [0, 1], brighter with more guidance."""
        noise = random.normal(0.2 + 0.15 * strategy.guidance_scale[-1], 0.3, (images, 4, 4))
        return noise.clip(0, 1)
