"""The digits objective: a small NAT on scikit-learn's digits, measured on pixels and classes."""

from __future__ import annotations

import copy
import functools
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoints import (
    WEIGHTS,
    load_nat_folder,
    read_settings,
    save_nat,
    settings_hash,
    store_nat,
    stored_folder,
    weights_hash,
)
from models.decoding import generate
from models.digits import CLASSES, LEVELS, TOKENS, digits, tokens_to_images
from models.estimator import GROUPS, estimate
from models.features import PixelsAndClasses
from models.frechet import FrechetDistance, Statistics, Sums, feature_statistics
from models.nat import NAT, NATConfig
from models.threads import one_thread
from models.training import TrainingSettings, train, train_in_rungs, validation_loss
from search.measurement import Measurement
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objective import Report, Trained

CHUNK = 100
"""Images generated at once: what fits a CPU's cache, and a multiple of the classes."""

FEATURES = TOKENS + CLASSES
"""F: pixels and class probabilities."""

HELD_OUT = 10
"""Trainings of a search hold out every tenth image."""

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
        checkpoint: hash of weights in the lab's store to measure, in place of training any.
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
        checkpoint: str | None = None,
        **parameters: float,
    ) -> None:
        if classes not in CLASS_DRAWS:
            raise ValueError(f"classes = {classes!r} is unknown; known: {', '.join(CLASS_DRAWS)}")
        if checkpoint is not None:
            stored_folder(Path(), checkpoint)
        self._classes, self._checkpoint = classes, checkpoint
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
        if self._checkpoint is not None:
            self._take(lab, self._checkpoint)
            return
        tokens, classes = digits()
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
            "checkpoint": None if self._nat is None else weights_hash(self._nat),
            "training": None if self._nat is None else self._strategy.to_json(),
            "protocol": {
                "features": "whitened pixels (ridge 0.01) and class probabilities (deviation 2)",
                "features_hash": self._reference[0].hash(),
                "resize": "none",
                "quantisation": "17 grey levels, the tokens themselves",
                "reference_statistics_hash": self._reference[1].hash(),
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
                found = estimate(self._reference[1], self._groups(kept[:images]))
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
        distance = FrechetDistance(*self._reference)
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

    def training_key(self, strategy: TrainingStrategy, seed: int) -> Mapping[str, Any]:
        """See `Trains.training_key`."""
        training = asdict(replace(self._settings, strategy=strategy, seed=seed))
        del training["steps"]
        held_out = f"every {HELD_OUT}th held out"
        return {"data": f"digits, {held_out}", "config": asdict(self._config), "training": training}

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
        tokens, classes = digits()
        held_out = torch.arange(len(tokens)) % HELD_OUT == 0
        begun = None if start is None else self.with_checkpoint(lab, start)._nat
        data = tokens[~held_out], classes[~held_out]
        models = train_in_rungs(
            self._config, settings, *data, folder, lambda *_: None, rungs, begun
        )
        seconds = 0.0
        for steps in rungs:
            started = time.perf_counter()
            with one_thread():
                nat = next(models)
                loss = validation_loss(nat, tokens[held_out], classes[held_out])
            seconds += time.perf_counter() - started
            checkpoint = None
            if steps == rungs[-1]:
                key = {**self.training_key(strategy, seed), "steps": steps, "start": start}
                checkpoint = store_nat(lab, nat, {**key, "strategy": strategy.to_json()})
            yield Trained(self._with(nat, strategy), loss, seconds, checkpoint)

    def with_checkpoint(self, lab: Path, checkpoint: str) -> DigitsObjective:
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
        theirs, ours = asdict(nat.config), asdict(self._config)
        differing = [f"{k} = {v}, not {ours[k]}" for k, v in theirs.items() if v != ours[k]]
        if differing:
            raise ValueError(
                f"checkpoint {checkpoint[:15]}… is of another network: {', '.join(differing)}"
            )
        self._nat = nat
        self._strategy = TrainingStrategy.from_json(read_settings(folder)["strategy"])

    def _with(self, nat: NAT, strategy: TrainingStrategy) -> DigitsObjective:
        """This objective on the weights of now; the training goes on with its own."""
        found = copy.copy(self)
        found._nat, found._strategy = copy.deepcopy(nat), strategy
        return found

    @functools.cached_property
    def _reference(self) -> tuple[PixelsAndClasses, Statistics]:
        """The features and the real images' statistics."""
        tokens, classes = digits()
        images = tokens_to_images(tokens)
        with one_thread():
            features = PixelsAndClasses(images, classes)
            return features, feature_statistics(features, images)

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
