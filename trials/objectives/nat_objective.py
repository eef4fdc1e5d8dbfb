"""What the objectives with a NAT share: its training, its stored weights, how it is measured.

An objective of its own kind says what data it trains on, how tokens become images, and what they
are measured by. B: images at once, L: tokens an image.
"""

from __future__ import annotations

import copy
import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.features.image_features import quantised
from models.generators.nat import NAT
from models.generators.nat_generator import NATGenerator
from models.precision import device
from models.threads import one_thread
from models.token_orders import scores_of
from models.training.checkpoints import stored_folder
from models.training.masked_loss import WHOLE, Share
from search.choices import CHOICES
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objectives.evaluator import Evaluator
from trials.objectives.generating import Generating
from trials.objectives.nat_training import NATTraining
from trials.objectives.objective import Report, Trained


class NATObjective(ABC):
    """Trains a NAT, or loads one, and measures generation strategies on it.

    Args:
        generator: the NAT, without weights.
        training: of the NAT.
        classes: "equal" numbers of each, or "random" ones as the paper has them, which makes FID
            noisier.
        chunk: images generated at once from one source of noise, a multiple of the classes where
            there are few.
        precision: in which images are generated (see models.precision).
        checkpoint: hash of weights in the lab's store to measure, in place of training any.
        quantise: images are rounded to 8 bits before they are measured.

    Raises:
        ValueError: a setting outside its range.
    """

    heeds = tuple(CHOICES)

    def __init__(
        self,
        generator: NATGenerator,
        training: NATTraining,
        *,
        classes: str,
        chunk: int,
        checkpoint: str | None,
        precision: str = "float32",
        quantise: bool = False,
    ) -> None:
        if checkpoint is not None:
            stored_folder(Path(), checkpoint)
        self._generating = Generating(generator, classes=classes, chunk=chunk, precision=precision)
        self._training, self._strategy = training, training.settings.strategy
        self._checkpoint, self._quantise = checkpoint, quantise
        self.tokens = generator.tokens

    @abstractmethod
    def _make_evaluator(self) -> Evaluator:
        """What images are measured by; asked for once."""

    @abstractmethod
    def _constant_images(self) -> list[Tensor]:
        """Images in [0, 1] that a generator could give for ever: the real ones' mean, where it is
        known, black and white."""

    @abstractmethod
    def _dataset_and_protocol(self) -> Mapping[str, Any]:
        """These two fields of `describe`."""

    @property
    def batch_size(self) -> int:
        """Images of a training step."""
        return self._training.settings.batch_size

    def prepare(self, lab: Path, report: Report, share: Share = WHOLE) -> None:
        """Train the NAT, or load it from the lab where these settings were trained before.

        Of several workers that train together each does this with a share; the first writes.
        """
        if self._checkpoint is not None:
            nat, self._strategy = self._training.stored(lab, self._checkpoint)
        else:
            nat = self._training.prepared(lab, report, share)
        self._generating = self._with_weights(nat)

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`."""
        self._evaluator.check(images)
        for order in space.choices.get("token_order", (space.start.token_order,)):
            scores_of(space.start.having({}, {"token_order": order}), self._generator.grid)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`."""
        generator = self._generator
        return {
            **self._dataset_and_protocol(),
            "checkpoint": generator.hash() if generator.loaded else None,
            "training": self._strategy.to_json() if generator.loaded else None,
            "flops": dict(generator.flops()),
        }

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`.

        Raises:
            ValueError: images that the metric cannot be taken of, or T > L.
        """
        *_, last = self.evaluate_growing(strategy, (images,), seed)
        return last

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """See `Grows.evaluate_growing`.

        Raises:
            ValueError: images that the metric cannot be taken of, or T > L.
        """
        for images in rungs:
            self._evaluator.check(images)
        started, seconds = time.perf_counter(), 0.0
        chunks = self._images(strategy, rungs[-1], seed)
        classes = self._generator.config.num_classes or 1
        estimates = self._evaluator.estimates(chunks, rungs, classes)
        for images in rungs:
            with one_thread(), torch.inference_mode():
                found = next(estimates)
            seconds += time.perf_counter() - started
            yield Measurement(
                value=found.value,
                standard_error=found.standard_error,
                images=images,
                forward_passes=strategy.forward_passes(),
                seconds=seconds,
                value_at=found.value_at,
                spread=found.spread,
                metric=self._evaluator.metric.name,
            )
            started = time.perf_counter()

    def anchors(self, images: int) -> Mapping[str, float]:
        """See `Anchors.anchors`; known without weights."""
        with one_thread(), torch.inference_mode():
            return self._evaluator.anchors(images, self._constant_images())

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """The classes in turn; seeded as `evaluate`, so they are its images."""
        with one_thread(), torch.inference_mode():
            made = list(self._images(strategy, images, seed))
        pixels = (torch.cat(made).clamp(0, 1) * 255).byte().cpu()
        if pixels.ndim == 4:
            pixels = pixels.movedim(1, -1)
        found: npt.NDArray[np.uint8] = pixels.numpy()
        return found

    def _images(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """Chunks of images in [0, 1], as they are measured."""
        self._move(device())
        for made in self._generating.images(strategy, images, seed):
            yield quantised(made) if self._quantise else made

    @property
    def _generator(self) -> NATGenerator:
        found: NATGenerator = self._generating.generator  # type: ignore[assignment]
        return found

    def _with_weights(self, nat: NAT) -> Generating:
        return self._generating.with_generator(self._generator.with_weights(nat))

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """See `Trains.training_key`."""
        return self._training.key(strategy, seed)

    def train(
        self,
        strategy: TrainingStrategy,
        seed: int,
        rungs: tuple[int, ...],
        folder: Path,
        lab: Path,
        start: str | None,
    ) -> Iterator[Trained]:
        """See `Trains.train`. Every tenth image is held out for the validation loss."""
        for made in self._training.in_rungs(strategy, seed, rungs, folder, lab, start):
            # The training goes on with weights of its own.
            objective = self._on(copy.deepcopy(made.nat), strategy)
            yield Trained(objective, made.validation_loss, made.seconds, made.checkpoint)

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Self:
        """See `Trains.with_checkpoint`.

        Raises:
            ValueError: there is none, or it is of another network.
        """
        return self._on(*self._training.stored(lab, checkpoint))

    def _on(self, nat: NAT, strategy: TrainingStrategy) -> Self:
        """This objective on other weights, and what they were trained with."""
        found = copy.copy(self)
        found._generating, found._strategy = self._with_weights(nat), strategy
        return found

    @functools.cached_property
    def _evaluator(self) -> Evaluator:
        with one_thread():
            return self._make_evaluator()

    def _move(self, where: str) -> None:
        """All that images are made and measured by, as far as it is loaded, to a device: that of
        the process before it measures, the CPU before it travels."""
        self._generating.to(where)
        if "_evaluator" in self.__dict__:
            self._evaluator.to(where)

    def __getstate__(self) -> dict[str, Any]:
        """To a worker it travels from the CPU, for the worker may have another device."""
        self._move("cpu")
        return self.__dict__.copy()
