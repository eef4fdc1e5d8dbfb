"""The digits objective: a small NAT on scikit-learn's digits, measured on pixels and classes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoints import WEIGHTS, load_nat_folder, save_nat, settings_hash, weights_hash
from models.decoding import generate
from models.digits import CLASSES, LEVELS, TOKENS, digits, tokens_to_images
from models.estimator import GROUPS, estimate
from models.features import PixelsAndClasses
from models.frechet import FrechetDistance, Statistics, Sums, feature_statistics
from models.nat import NAT, NATConfig
from models.threads import one_thread
from models.training import TrainingSettings, train
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objective import Report

CHUNK = 100
"""Images generated at once: what fits a CPU's cache, and a multiple of the classes."""

FEATURES = TOKENS + CLASSES
"""F: pixels and class probabilities."""

CLASS_DRAWS = {"equal": "equal numbers", "random": "random"}


class DigitsObjective:
    """Trains a NAT on the digits (once; it is cached) and measures strategies on it.

    Args:
        width: D of the NAT, even.
        depth: its blocks besides the middle one.
        num_heads: its attention heads.
        training_steps: of 64 images.
        training_seed: of the weights and batches.
        mask_ratio_distribution: a name of search.training_strategy.
        classes: "equal" numbers of each, or "random" ones as the paper has them, which makes FID
            noisier.
        parameters: of the distribution, by name.

    Raises:
        ValueError: a setting outside its range.
    """

    tokens = TOKENS

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 2,
        num_heads: int = 2,
        training_steps: int = 1500,
        training_seed: int = 0,
        mask_ratio_distribution: str = "cosine",
        classes: str = "equal",
        **parameters: float,
    ) -> None:
        if classes not in CLASS_DRAWS:
            raise ValueError(f"classes = {classes!r} is unknown; known: {', '.join(CLASS_DRAWS)}")
        self._classes = classes
        self._strategy = TrainingStrategy(mask_ratio_distribution, parameters)
        self._config = NATConfig(LEVELS, TOKENS, CLASSES, width, depth, num_heads, dropout=0.0)
        self._settings = TrainingSettings(
            strategy=self._strategy,
            steps=training_steps,
            batch_size=64,
            learning_rate=6e-3,
            warmup_steps=100,
            betas=(0.9, 0.99),
            # With 17 words, smoothing of 0.1 would make a tenth of all sampled tokens noise.
            label_smoothing=0.0,
            ema_decay=0.995,
            seed=training_seed,
        )
        self._nat: NAT | None = None

    def prepare(self, lab: Path, report: Report) -> None:
        """Train the NAT, or load it from the lab where these settings were trained before."""
        tokens, classes = digits()
        images = tokens_to_images(tokens)
        with one_thread():
            self._features = PixelsAndClasses(images, classes)
            self._real: Statistics = feature_statistics(self._features, images)
        key = {"data": "digits", "config": asdict(self._config), "training": asdict(self._settings)}
        folder = lab / "models" / settings_hash(key)
        if not (folder / WEIGHTS).exists():
            # So small a network gains nothing from threads, and loses much beside other work.
            with one_thread():
                nat = train(self._config, self._settings, tokens, classes, folder, report)
            save_nat(folder, nat, key)
        self._nat = load_nat_folder(folder)

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`."""
        _check_images(images)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`."""
        return {
            "dataset": "scikit-learn digits, 1797 images of 8 x 8",
            "checkpoint": weights_hash(self._loaded()),
            "training": self._strategy.to_json(),
            "protocol": {
                "features": "whitened pixels (ridge 0.01) and class probabilities (deviation 2)",
                "features_hash": self._features.hash(),
                "resize": "none",
                "quantisation": "17 grey levels, the tokens themselves",
                "reference_statistics_hash": self._real.hash(),
                "classes": CLASS_DRAWS[self._classes],
            },
        }

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`.

        Raises:
            ValueError: fewer images than the covariance of the features needs, or T > L.
        """
        *_, last = self.evaluate_growing(strategy, (images,), seed)
        return last

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """See `Grows.evaluate_growing`.

        Raises:
            ValueError: fewer images than the covariance of the features needs, or T > L.
        """
        _check_images(rungs[0])
        seconds, kept = 0.0, torch.empty(0, TOKENS, dtype=torch.int64)
        chunks = self._generate(strategy, rungs[-1], seed)
        for images in rungs:
            started = time.perf_counter()
            with one_thread():
                while len(kept) < images:
                    kept = torch.cat([kept, next(chunks).cpu()])
                found = estimate(self._real, self._groups(kept[:images]))
            seconds += time.perf_counter() - started
            yield Measurement(
                fid=found.fid,
                fid_se=found.fid_se,
                images=images,
                forward_passes=strategy.forward_passes(),
                seconds=seconds,
                fid_at=found.fid_at,
            )

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """Images [n, 8, 8], the classes in turn; seeded as `evaluate`, so they are its images."""
        with one_thread():
            tokens = torch.cat([*self._generate(strategy, images, seed)])
        grey: npt.NDArray[np.uint8] = (tokens_to_images(tokens) * 255).byte().cpu().numpy()
        return grey

    def _groups(self, tokens: Tensor) -> list[Sums]:
        """The sums of groups of images [n, 64], each with equal numbers a class."""
        size = max(1, len(tokens) // (GROUPS * CLASSES)) * CLASSES
        distance = FrechetDistance(self._features, self._real)
        groups: list[Sums] = []
        pending = 0
        for part in torch.split(tokens_to_images(tokens), CLASSES):
            distance.update(part, real=False)
            pending += len(part)
            if pending == size:
                groups.append(distance.take_sums())
                pending = 0
        if pending:
            groups[-1] += distance.take_sums()
        return groups

    def _generate(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """Chunks of tokens [<= CHUNK, 64]. Each has a generator of its own, so that the first
        images of a large n are those of a small one."""
        nat = self._loaded()
        device = next(nat.parameters()).device
        for index, first in enumerate(range(0, images, CHUNK)):
            generator = torch.Generator(device).manual_seed(_chunk_seed(seed, index))
            if self._classes == "equal":
                classes = torch.arange(first, first + CHUNK, device=device) % CLASSES
            else:
                classes = torch.randint(CLASSES, (CHUNK,), device=device, generator=generator)
            # Whole chunks, so that the noise of an image does not depend on n.
            yield generate(nat, classes, strategy, generator)[: images - first]

    def _loaded(self) -> NAT:
        """The NAT on this process's device."""
        if self._nat is None:
            raise RuntimeError("DigitsObjective: prepare() comes first")
        return self._nat.to("cuda" if torch.cuda.is_available() else "cpu")

    def __getstate__(self) -> dict[str, Any]:
        """To a worker it travels from the CPU, for the worker may have another device."""
        if self._nat is not None:
            self._nat.to("cpu")
        return self.__dict__.copy()


def _check_images(images: int) -> None:
    if images <= FEATURES:
        raise ValueError(
            f"{images} images are too few: the covariance of {FEATURES} features is singular "
            f"below {FEATURES + 1}"
        )


def _chunk_seed(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"images/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
