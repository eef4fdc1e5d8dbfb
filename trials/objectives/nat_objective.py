"""What the objectives with a NAT share: its training, its stored weights, and FID in groups.

An objective of its own kind says what data it trains on, how tokens become images, and what they
are measured by. B: images at once, L: tokens an image.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.decoding import generate
from models.features.features import Features
from models.features.image_features import quantised
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.metrics.anchors import Halves, constant_distance
from models.metrics.fid import estimate
from models.metrics.frechet import FrechetDistance, Statistics, Sums
from models.metrics.metric import GROUPS
from models.precision import check_precision, computing_in, device
from models.threads import one_thread
from models.training.checkpoints import (
    WEIGHTS,
    load_nat_folder,
    read_settings,
    save_nat,
    settings_hash,
    store_nat,
    stored_folder,
)
from models.training.masked_loss import WHOLE, Share, validation_loss
from models.training.rows import Rows
from models.training.settings import TrainingSettings
from models.training.training import train, train_in_rungs
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objectives.objective import CONSTANT_IMAGE, REAL_IMAGES, Report, Trained

HELD_OUT = 10
"""Trainings of a search hold out every tenth image."""

CLASS_DRAWS = {"equal": "equal numbers", "random": "random"}


@dataclass(frozen=True)
class Examples:
    """What a NAT is trained on.

    Attributes:
        name: of the data, as part of the key of what was trained on them.
        whole: tokens [N, L] in [0, K) and conditions [N, ...], for a model that is not searched.
        training: what a search's trainings see of them.
        held_out: what they do not see.
    """

    name: str
    whole: tuple[Rows, Rows]
    training: tuple[Rows, Rows]
    held_out: tuple[Rows, Rows]


class NATObjective(ABC):
    """Trains a NAT, or loads one, and measures generation strategies on it.

    Args:
        generator: the NAT, without weights.
        settings: of its training.
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

    def __init__(
        self,
        generator: NATGenerator,
        settings: TrainingSettings,
        *,
        classes: str,
        chunk: int,
        checkpoint: str | None,
        precision: str = "float32",
        quantise: bool = False,
    ) -> None:
        if classes not in CLASS_DRAWS:
            raise ValueError(f"classes = {classes!r} is unknown; known: {', '.join(CLASS_DRAWS)}")
        check_precision(precision)
        if checkpoint is not None:
            stored_folder(Path(), checkpoint)
        self._generator, self._settings = generator, settings
        self._strategy = settings.strategy
        self._classes, self._chunk, self._checkpoint = classes, chunk, checkpoint
        self._precision, self._quantise = precision, quantise
        self._rows_at_once: int | None = None  # all of a chunk, until memory says otherwise
        self.tokens = generator.tokens

    @abstractmethod
    def _examples(self) -> Examples:
        """What the NAT is trained on."""

    @abstractmethod
    def _measured_by(self) -> tuple[Features, Statistics]:
        """Features of images, and the real images' statistics."""

    @abstractmethod
    def _constants(self) -> list[Tensor]:
        """Images in [0, 1] that a generator could give for ever: the real ones' mean, where it is
        known, black and white."""

    @abstractmethod
    def _halves(self) -> Halves | None:
        """What real images have against real ones, where it is known."""

    @abstractmethod
    def _told(self) -> Mapping[str, Any]:
        """Of `describe`: dataset and protocol."""

    @property
    def batch_size(self) -> int:
        """Images of a training step."""
        return self._settings.batch_size

    def prepare(self, lab: Path, report: Report, share: Share = WHOLE) -> None:
        """Train the NAT, or load it from the lab where these settings were trained before.

        Of several workers that train together each does this with a share; the first writes.
        """
        if self._checkpoint is not None:
            self._take(lab, self._checkpoint)
            return
        examples = self._examples()
        key = self._key(examples.name, self._settings)
        folder = lab / "models" / settings_hash(key)
        if not (folder / WEIGHTS).exists():
            # A small network gains nothing from threads, and loses much beside other work.
            with one_thread():
                nat = train(
                    self._generator.config,
                    self._settings,
                    *examples.whole,
                    folder,
                    report,
                    self._null_context(),
                    share,
                )
            if share.rank == 0:
                save_nat(folder, nat, key)
            self._generator = self._generator.with_weights(nat.cpu())
            return
        self._generator = self._generator.with_weights(load_nat_folder(folder))

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`."""
        self._check_images(images)

    def describe(self) -> Mapping[str, Any]:
        """See `Objective.describe`."""
        return {
            **self._told(),
            "checkpoint": self._generator.hash() if self._generator.loaded else None,
            "training": self._strategy.to_json() if self._generator.loaded else None,
            "flops": dict(self._generator.flops()),
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
        self._check_images(rungs[0])
        started, seconds = time.perf_counter(), 0.0
        grouped = self._grouped(strategy, rungs, seed)
        for images in rungs:
            with one_thread(), torch.inference_mode():
                groups = next(grouped)  # which moves the reference beside them
                found = estimate(self._reference[1], groups)
            seconds += time.perf_counter() - started
            yield Measurement(
                value=found.value,
                standard_error=found.standard_error,
                images=images,
                forward_passes=strategy.forward_passes(),
                seconds=seconds,
                value_at=found.value_at,
                spread=found.spread,
            )
            started = time.perf_counter()

    def anchors(self, images: int) -> Mapping[str, float]:
        """See `Anchors.anchors`; known without weights."""
        features, real = self._reference
        features.to(device())
        with one_thread(), torch.inference_mode():
            alike = [features(image[None].to(device()))[0] for image in self._constants()]
            found = {CONSTANT_IMAGE: min(constant_distance(real, one) for one in alike)}
            halves = self._halves()
        return found if halves is None else {REAL_IMAGES: halves.at(images), **found}

    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> npt.NDArray[np.uint8]:
        """The classes in turn; seeded as `evaluate`, so they are its images."""
        with one_thread(), torch.inference_mode():
            made = [self._images(tokens) for tokens in self._generate(strategy, images, seed)]
        pixels = (torch.cat(made).clamp(0, 1) * 255).byte().cpu()
        if pixels.ndim == 4:
            pixels = pixels.movedim(1, -1)
        found: npt.NDArray[np.uint8] = pixels.numpy()
        return found

    def _grouped(
        self, strategy: GenerationStrategy, rungs: tuple[int, ...], seed: int
    ) -> Iterator[list[Sums]]:
        """At each rung the sums of groups of images so far. Their size is the last rung's, and a
        multiple of the classes where the images suffice for that."""
        classes, most = self._generator.config.num_classes or 1, rungs[-1]
        size = most // (GROUPS * classes) * classes or max(1, most // GROUPS)
        distance = FrechetDistance(*self._reference).to(device())
        groups: list[Sums] = []
        rest: Sums | None = None
        made = 0
        for tokens in self._generate(strategy, most, seed):
            stops = {*range(0, most, size), *rungs}
            ends = [end for end in sorted(stops) if made < end < made + len(tokens)]
            cuts = [end - made for end in ends]
            for part in torch.tensor_split(self._images(tokens), cuts):
                distance.update(part, real=False)
                made += len(part)
                if made % size and made not in rungs:
                    continue
                taken = distance.take_sums()
                rest = taken if rest is None else rest + taken
                if made % size == 0:
                    groups, rest = [*groups, rest], None
                if made in rungs:
                    yield groups if rest is None else _with_rest(groups, rest)

    def _generate(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """Chunks of tokens [<= chunk, L]. Each has a generator of its own, so that the first
        images of a large n are those of a small one."""
        self._move(device())
        for index, first in enumerate(range(0, images, self._chunk)):
            while (tokens := self._try_chunk(strategy, seed, index)) is None:
                torch.cuda.empty_cache()
            # Whole chunks, so that the noise of an image does not depend on n.
            yield tokens[: images - first]

    def _try_chunk(self, strategy: GenerationStrategy, seed: int, index: int) -> Tensor | None:
        """Tokens [chunk, L]; None where memory did not suffice, for another try in half as large
        parts."""
        first = index * self._chunk
        random = torch.Generator(device()).manual_seed(_chunk_seed(seed, index))
        conditions = self._generator.conditions_of(self._draw(first, random))
        try:
            with computing_in(self._precision):
                return generate(self._generator, conditions, strategy, random, self._rows_at_once)
        except torch.OutOfMemoryError:
            if self._rows_at_once == 1:
                raise
            self._rows_at_once = (self._rows_at_once or 2 * self._chunk) // 2
            return None

    def _draw(self, first: int, random: torch.Generator) -> Tensor:
        """Numbers of the classes, or texts, [chunk] of the images from number `first` on."""
        count, chunk = self._generator.num_conditions or 1, self._chunk
        where = random.device
        if self._classes == "random":
            return torch.randint(count, (chunk,), device=where, generator=random)
        numbers = torch.arange(first, first + chunk, device=where)
        drawn: Tensor = numbers * _stride(count, chunk) % count
        return drawn

    def _images(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L] to images in [0, 1], as they are measured."""
        images = self._generator.decode(tokens)
        return quantised(images) if self._quantise else images

    def _null_context(self) -> Tensor | None:
        """States of no text [C, E], of a NAT that takes texts."""
        prompts = self._generator.prompts
        return None if prompts is None else prompts.null

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """See `Trains.training_key`."""
        settings = replace(self._settings, strategy=strategy, seed=seed)
        key = self._key(f"{self._examples().name}, every {HELD_OUT}th held out", settings)
        del key["training"]["steps"]
        return key

    def _key(self, data: str, settings: TrainingSettings) -> dict[str, Any]:
        config = self._generator.config.to_json()
        return {"data": data, "config": config, "training": asdict(settings)}

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
        settings = replace(self._settings, strategy=strategy, seed=seed, steps=rungs[-1])
        examples = self._examples()
        begun = None if start is None else self.with_checkpoint(lab, start)._generator.nat
        models = train_in_rungs(
            self._generator.config,
            settings,
            *examples.training,
            folder,
            lambda *_: None,
            rungs,
            begun,
            self._null_context(),
        )
        seconds = 0.0
        for steps in rungs:
            started = time.perf_counter()
            with one_thread():
                nat = next(models)
                loss = validation_loss(nat, *examples.held_out)
            seconds += time.perf_counter() - started
            checkpoint = None
            if steps == rungs[-1]:
                key = {**self.training_key(strategy, seed), "steps": steps, "start": start}
                checkpoint = store_nat(lab, nat, {**key, "strategy": strategy.to_json()})
            yield Trained(self._with(nat, strategy), loss, seconds, checkpoint)

    def with_checkpoint(self, lab: Path, checkpoint: str) -> Self:
        """See `Trains.with_checkpoint`.

        Raises:
            ValueError: there is none, or it is of another network.
        """
        found = copy.copy(self)
        found._take(lab, checkpoint)
        return found

    def _take(self, lab: Path, checkpoint: str) -> None:
        """Measure stored weights from now on."""
        folder = stored_folder(lab, checkpoint)
        nat = load_nat_folder(folder)
        self._require_config(nat.config, f"checkpoint {checkpoint[:15]}…")
        self._generator = self._generator.with_weights(nat)
        self._strategy = TrainingStrategy.from_json(read_settings(folder)["strategy"])

    def _require_config(self, config: NATConfig, where: str) -> None:
        """Refuse weights of another network; where they lie is named."""
        theirs, ours = config.to_json(), self._generator.config.to_json()
        differing = [
            f"{name} = {theirs.get(name)}, not {ours.get(name)}"
            for name in dict.fromkeys([*theirs, *ours])
            # What is dropped in training is not of the weights.
            if theirs.get(name) != ours.get(name) and name != "dropout"
        ]
        if differing:
            raise ValueError(f"{where} is of another network: {', '.join(differing)}")

    def _with(self, nat: NAT, strategy: TrainingStrategy) -> Self:
        """This objective on the weights of now; the training goes on with its own."""
        found = copy.copy(self)
        found._generator = self._generator.with_weights(copy.deepcopy(nat))
        found._strategy = strategy
        return found

    @functools.cached_property
    def _reference(self) -> tuple[Features, Statistics]:
        with one_thread():
            return self._measured_by()

    def _move(self, where: str) -> None:
        """All that images are made and measured by, as far as it is loaded, to a device: that of
        the process before it measures, the CPU before it travels."""
        self._generator = self._generator.to(where)
        if "_reference" in self.__dict__:
            features, real = self._reference
            self._reference = features.to(where), real.to(where)

    def __getstate__(self) -> dict[str, Any]:
        """To a worker it travels from the CPU, for the worker may have another device."""
        self._move("cpu")
        return self.__dict__.copy()

    def _check_images(self, images: int) -> None:
        width = self._reference[0].num_features
        if images <= width:
            raise ValueError(
                f"{images} images are too few: the covariance of {width} features is singular "
                f"below {width + 1}"
            )


def _with_rest(groups: list[Sums], rest: Sums) -> list[Sums]:
    """The images that fill no group of their own, in the last one."""
    return [*groups[:-1], groups[-1] + rest] if groups else [rest]


def _stride(classes: int, chunk: int) -> int:
    """Classes in turn where a chunk holds them all; else by the golden section, so that those of
    any run of images lie spread over all."""
    stride = 1 if classes <= chunk else round(classes * 0.618)
    while math.gcd(stride, classes) > 1:
        stride += 1
    return stride


def _chunk_seed(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"images/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
