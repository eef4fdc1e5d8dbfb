"""Measures strategies on any masked generator."""

from __future__ import annotations

import itertools
import math
import operator
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.generators.generator import MaskedGenerator
from models.generators.registry import load_generator
from models.generators.soundness import require_sound
from models.metrics.metric import Estimate
from models.precision import device
from models.schedule_gradients import gradient_of
from models.threads import one_thread
from models.token_orders import scores_of
from search.choices import CHOICES
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.user_code import is_ours
from trials.objectives.evaluator import Measuring
from trials.objectives.generating import Generating
from trials.objectives.named_paths import KindAndPath, MaybePath, PathText
from trials.objectives.pictures import ClassGrid, Film
from trials.objectives.real_examples import RealExamples
from trials.objectives.scoring import has_gradient, measure_scored, require_gradients
from trials.objectives.shown_tokens import rows_of, shown_conditions, steps_of
from trials.objectives.yardstick import Yardstick

G = TypeVar("G", bound=MaskedGenerator)


class GeneratorObjective(Generic[G]):
    """Measures generation strategies on one generator.

    For a generator of your own that implements `MaskedGenerator`, an objective takes a few lines.
    Its name on the command line is `package.module:Mine`:

        class Mine(GeneratorObjective[MyGenerator]):
            def __init__(self, *, weights: Path, reference: Path, metric: str = "fid") -> None:
                yardstick = Yardstick("inception:inception.pth", reference, metric=metric)
                super().__init__(MyGenerator(weights), yardstick, dataset="my pictures")

    Args:
        generator: generates the images.
        yardstick: measures them.
        dataset: what the generator was trained on, in words.
        conditions: what is drawn for each image, in words, for the protocol.
        classes: "random" classes (or texts), as in the paper, or "equal" numbers of each, which
            makes a metric less noisy.
        chunk: images generated at once from one source of noise, a multiple of the classes where
            there are few.
        precision: of the tokens, or of each stage: "tokens:bfloat16,pixels:float32" (see
            models.precision).
        compiled: whether forward passes are compiled on a GPU: faster after some seconds, and with
            other last digits (see models.compiled).
        rows: images that the generator sees at once; None: on a CPU what stays in its caches,
            and on a GPU what it has room for (see models.memory). Only rounding depends on it.

    Raises:
        ValueError: a setting is outside its range.
    """

    heeds = tuple(CHOICES)

    def __init__(
        self,
        generator: G,
        yardstick: Yardstick,
        *,
        dataset: str | None = None,
        conditions: str = "classes",
        classes: str = "random",
        chunk: int = 100,
        precision: str = "float32",
        compiled: bool = False,
        rows: int | None = None,
    ) -> None:
        self._generating = Generating(
            generator,
            classes=classes,
            chunk=chunk,
            precision=precision,
            compiled=compiled,
            rows=rows,
        )
        self._yardstick, self._dataset, self._conditions = yardstick, dataset, conditions
        self.tokens = generator.tokens

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`.

        It also checks that the generator supports the token orders, and takes a first look at a
        generator of a user.
        """
        generator = self._generating.generator
        if not is_ours(type(generator)):
            require_sound(generator)
        self._generating.require_supported()
        self._yardstick.evaluator.check(images)
        grid = generator.grid
        for order in space.choices.get("token_order", (space.start.token_order,)):
            scores_of(space.start.with_values({}, {"token_order": order}), grid)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`."""
        return self._described(self._generating.generator.hash(), None)

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`.

        Raises:
            ValueError: the metric is not defined for so many images, or T > L.
        """
        *_, last = self.evaluate_growing(strategy, (images,), seed)
        return last

    def evaluate_growing(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[Measurement]:
        """See `Grows.evaluate_growing`.

        Raises:
            ValueError: the metric is not defined for so many images, or T > L.
        """
        evaluator = self._yardstick.evaluator
        for images in rungs:
            evaluator.check(images)
        ceiling = self._generating.ceiling()
        started, seconds = time.perf_counter(), 0.0
        self._move(device())
        chunks = self._images(strategy, rungs[-1], seed)
        precision = self._generating.precision.features
        estimates = evaluator.estimates(chunks, rungs, self._generating.classes, precision)
        for images in rungs:
            with one_thread(), torch.inference_mode():
                found = next(estimates)
            seconds += time.perf_counter() - started
            yield self._measurement(found, strategy, images, seconds, ceiling)
            started = time.perf_counter()

    def evaluate_together(
        self, strategies: Sequence[GenerationStrategy], images: int, seeds: Sequence[int]
    ) -> list[Measurement]:
        """See `MeasuresTogether.evaluate_together`.

        A subclass with an `evaluate` of its own needs its own version of this, too.

        Raises:
            ValueError: the metric is not defined for so many images, or T > L.
        """
        evaluator = self._yardstick.evaluator
        evaluator.check(images)
        ceiling = self._generating.ceiling()
        started = time.perf_counter()
        classes, precision = self._generating.classes, self._generating.precision.features
        found: dict[int, Estimate] = {}
        with self._computing():
            made = self._generating.images_of_each(strategies, images, seeds)
            for number, chunks in itertools.groupby(made, key=operator.itemgetter(0)):
                # Made here, so that the sums of one strategy alone, which may be GBs, are kept.
                measuring = Measuring(evaluator, (images,), classes, precision)
                for _, pixels in chunks:
                    seen = self._yardstick.seen(pixels)
                    found.update((number, at) for at in measuring.add(seen))
        share = (time.perf_counter() - started) / max(1, len(strategies))
        return [
            self._measurement(found[number], strategy, images, share, ceiling)
            for number, strategy in enumerate(strategies)
        ]

    def _measurement(
        self,
        found: Estimate,
        strategy: GenerationStrategy,
        images: int,
        seconds: float,
        ceiling: float | None,
    ) -> Measurement:
        return Measurement(
            value=found.value,
            standard_error=found.standard_error,
            images=images,
            forward_passes=strategy.forward_passes(),
            seconds=seconds,
            value_at=found.value_at,
            spread=found.spread,
            metric=self._yardstick.metric.name,
            ceiling=ceiling,
        )

    def in_metric(self, metric: str) -> Self:
        """See `HasMetrics.in_metric`."""
        found = self._alike()
        found._yardstick = self._yardstick.in_metric(metric)
        return found

    def check_gradients(self, space: Space, images: int) -> None:
        """See `MeasuresGradients.check_gradients`."""
        require_gradients(self._yardstick.metric.name, space, images)

    def evaluate_with_gradient(
        self, strategy: GenerationStrategy, images: int, seed: int
    ) -> Measurement:
        """See `MeasuresGradients.evaluate_with_gradient`.

        A strategy without a gradient (see `has_gradient`) is measured without it, in less time.

        Raises:
            ValueError: the metric is not defined for so many images, or T > L.
        """
        if not has_gradient(strategy):
            return self.evaluate(strategy, images, seed)
        self._yardstick.evaluator.check(images)
        ceiling = self._generating.ceiling()
        started = time.perf_counter()
        with self._computing():
            found, scored, real = measure_scored(
                self._generating, self._yardstick, strategy, images, seed
            )
            gradient = None
            if scored.scores.isfinite().all() and math.isfinite(found.value):
                gradient = gradient_of(scored, real, seed)
        seconds = time.perf_counter() - started
        measured = self._measurement(found, strategy, images, seconds, ceiling)
        return replace(measured, gradient=gradient)

    def anchors(self, images: int) -> Mapping[str, float]:
        """See `Anchors.anchors`."""
        with self._computing():
            first = torch.zeros((1, self.tokens), dtype=torch.int64, device=device())
            constants = self._yardstick.constant_images(self._generating.generator.decode(first)[0])
            precision = self._generating.precision.features
            return self._yardstick.evaluator.anchors(images, constants, precision)

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """See `Samples.sample`. These are the images that `evaluate` measures with that seed."""
        with self._computing():
            return _pixels(torch.cat(list(self._images(strategy, images, seed))))

    def class_grid(
        self, strategy: GenerationStrategy, columns: int, rows: int, seed: int
    ) -> ClassGrid:
        """See `ShowsClasses.class_grid`."""
        shown = shown_conditions(self._generating.generator, columns)
        with self._computing():
            made = self._decoded(rows_of(self._generating, strategy, shown, rows, seed))
            return ClassGrid(made, self._names_of(shown))

    def real_grid(self, columns: int, rows: int) -> ClassGrid | None:
        """See `ShowsRealImages.real_grid`. The images are as the decoder gives them back."""
        known = self.real_examples()
        if known is None:
            return None
        shown = shown_conditions(self._generating.generator, columns)
        tokens = torch.from_numpy(known.first(shown, rows)).to(device())
        if not len(tokens):
            return None
        with self._computing():
            return ClassGrid(self._decoded(tokens), self._names_of(shown))

    def film(self, strategy: GenerationStrategy, images: int, seed: int) -> Film:
        """See `Films.film`."""
        shown = shown_conditions(self._generating.generator, images)
        generator = self._generating.generator
        with self._computing():
            steps = steps_of(self._generating, strategy, shown, seed)
            frames = self._decoded(sampled for sampled, _ in steps)
            masked = torch.stack([left == generator.mask_token for _, left in steps])
            names = self._names_of(shown)
            return Film(frames, masked.cpu().numpy(), generator.grid, names)

    def real_examples(self) -> RealExamples | None:
        """Real images to be shown beside generated ones; None where they are not known."""
        return None

    def _names_of(self, conditions: Sequence[int]) -> tuple[str, ...]:
        """The names of classes or texts; none where there is only one of them."""
        generator = self._generating.generator
        if (generator.num_conditions or 1) == 1:
            return ()
        known = self.real_examples()
        names = () if known is None else known.names
        kind = "class" if self._generating.classes > 1 else "condition"
        return tuple(names[c] if c < len(names) else f"{kind} {c}" for c in conditions)

    def _decoded(self, tokens: Iterable[Tensor]) -> npt.NDArray[np.uint8]:
        """The images as they are measured, [rows, ...], of rows of tokens [B, L]."""
        images = map(self._generating.generator.decode, tokens)
        return np.stack([_pixels(self._yardstick.seen(row)) for row in images])

    def _images(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """The images in [0, 1] as they are measured, a chunk at a time."""
        return map(self._yardstick.seen, self._generating.images(strategy, images, seed))

    def _described(
        self, checkpoint: str | None, training: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        drawn = self._generating.describe()
        flops = dict(self._generating.generator.flops())
        return {
            "dataset": self._dataset,
            "protocol": {
                **self._yardstick.describe(
                    f"{self._conditions}, {drawn}" if self._conditions else drawn
                ),
                "precision": self._generating.precision.describe(),
            },
            "checkpoint": checkpoint,
            "training": training,
            "flops": flops if {"pass", "decode"} <= flops.keys() else None,  # all or nothing
        }

    def _alike(self) -> Self:
        """Another one that shares everything, where it is; `copy` would move it to the CPU."""
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__)
        return found

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Within the block, everything is on the device of this process, and nothing is trained.

        It is moved before: weights that move in inference mode could never be trained again.
        """
        self._move(device())
        with one_thread(), torch.inference_mode():
            yield

    def _move(self, where: str) -> None:
        """Move everything that is loaded to a device.

        That is the device of the process before it measures, and the CPU before it is sent to a
        worker.
        """
        self._generating.to(where)
        self._yardstick.to(where)

    def __getstate__(self) -> dict[str, Any]:
        """The state for a worker, on the CPU, because the worker may have another device."""
        self._move("cpu")
        return self.__dict__.copy()


def _pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Images [B, H, W] or [B, 3, H, W] in [0, 1] as uint8 [B, H, W] or [B, H, W, 3]."""
    pixels = (images.clamp(0, 1) * 255).round().byte().cpu()
    if pixels.ndim == 4:
        pixels = pixels.movedim(1, -1)
    found: npt.NDArray[np.uint8] = pixels.numpy()
    return found


class NamedGeneratorObjective(GeneratorObjective[MaskedGenerator]):
    """The objective `generator`: a generator and features that are given by name.

    Args:
        generator: KIND:PATH, the PATH alone of a kind that is recognised, or package.module:make of
            your own (see models.generators.registry).
        features: inception:PATH, inception-bicubic:PATH, inception-adm:PATH or pixels:PATH (see
            models.features.image_features).
        reference: a .npz file with mu and sigma of the real images.
        metric: fid, fid-infinity, fid-leading, kid, mmd, or your own (see models.metrics.metric).
        quantise: whether images are rounded to 8 bits before they are measured.
        classes: "random" ones, as in the paper, or "equal" numbers of each.
        chunk: images generated at once.
        precision: of the tokens, or of each stage: "tokens:bfloat16,pixels:float32" (see
            models.precision).
        compiled: whether forward passes and decoders are compiled on a GPU (see models.compiled).
        rows: images that the generator sees at once; found by itself if it is not given.
        settings: keywords of the generator.

    Raises:
        ValueError: a setting is outside its range, or files are missing or do not fit together.
    """

    def __init__(
        self,
        *,
        generator: PathText | KindAndPath,
        features: KindAndPath,
        reference: PathText,
        metric: str = "fid",
        quantise: bool = False,
        classes: str = "random",
        chunk: int = 100,
        precision: str = "float32",
        compiled: bool = False,
        rows: int | None = None,
        **settings: MaybePath,
    ) -> None:
        super().__init__(
            load_generator(generator, **settings),
            Yardstick(features, reference, metric=metric, quantise=quantise),
            conditions="conditions",
            classes=classes,
            chunk=chunk,
            precision=precision,
            compiled=compiled,
            rows=rows,
        )
