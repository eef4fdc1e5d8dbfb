"""The letters objective: a NAT on letters and digits of many fonts, measured on pixels and classes.

The weights come with the package, so that a search needs no training and no font.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from models.data.letters import CHARACTERS, MAKER, decode, encode, read_pictures
from models.features.features import Features
from models.generators.nat_generator import NATGenerator
from models.hashes import numbers_hash
from models.metrics.metric import RealImages, load_metric, statistics_of
from models.regular_files import not_a_file
from models.threads import one_thread
from models.training.settings import TrainingSettings, training_precision
from search.training_strategy import TrainingStrategy
from trials.objectives.letters.files import FOLDER, SIZES, read_features, read_size
from trials.objectives.named_paths import PATH
from trials.objectives.nat_objective import NATObjective
from trials.objectives.nat_training import HELD_OUT, Examples, NATTraining
from trials.objectives.real_examples import RealExamples
from trials.objectives.yardstick import Yardstick

CHUNKS = {"small": 2 * len(CHARACTERS), "large": 14 * len(CHARACTERS)}
"""Pictures generated at once: they fit a CPU's cache, or fill a GPU; multiples of the classes."""


class LettersObjective(NATObjective):
    """Measures strategies on a NAT of letters that comes with the package, or trains others.

    Args:
        size: small, 8 x 8 tokens, for a CPU; or large, 16 x 16 tokens, for a GPU.
        data: the pictures that benchmarks.render_letters of autonat's repository makes. They are
            needed for searches of training strategies and for metrics that compare the features
            themselves, such as kid.
        batch_size: pictures of each training step.
        learning_rate: of the trainings of a search.
        warmup_steps: steps in which the learning rate grows from 0.
        ema_decay: of the average of the weights, in [0, 1).
        classes: "equal" numbers of each class, or "random" classes as in the paper, which makes
            the metric noisier.
        checkpoint: the hash of weights in the lab's store, to measure these.
        metric: fid, fid-infinity, fid-leading, kid, mmd, or your own (see models.metrics.metric).
        precision: of the tokens, or of each stage: "tokens:bfloat16,features:float32" (see
            models.precision); that of the tokens is also that of training where it is supported.
        compiled: whether forward passes and decoders are compiled on a GPU (see models.compiled).
        rows: images that the generator sees at once; found by itself if it is not given.

    Raises:
        ValueError: a setting is outside its range, or the package lacks its data.
    """

    def __init__(
        self,
        *,
        size: str = "small",
        data: Annotated[str | None, PATH] = None,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        warmup_steps: int = 100,
        ema_decay: float = 0.995,
        classes: str = "equal",
        checkpoint: str | None = None,
        metric: str = "fid",
        precision: str = "float32",
        compiled: bool = False,
        rows: int | None = None,
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"size = {size!r} is unknown; known: {', '.join(SIZES)}")
        if data is not None and (reason := not_a_file(data)) is not None:
            raise ValueError(f"{data}: {reason}")
        self._file = read_size(FOLDER / f"{size}.safetensors")
        side, codes = SIZES[size], self._file.codes
        settings = TrainingSettings(
            strategy=TrainingStrategy("cosine"),
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            betas=(0.9, 0.99),
            label_smoothing=0.0,
            ema_decay=ema_decay,
            precision=training_precision(precision),
        )
        super().__init__(
            NATGenerator(self._file.config, GreyPatches(codes, side // 2)),
            yardstick(metric, data, self._file.mean_image),
            NATTraining(self._file.config, settings, LetterExamples(data, side, codes)),
            published=self._file.nat,
            dataset=f"letters and digits of free fonts, {side} x {side}",
            conditions="",
            classes=classes,
            chunk=CHUNKS[size],
            checkpoint=checkpoint,
            precision=precision,
            compiled=compiled,
            rows=rows,
        )

    def real_examples(self) -> RealExamples:
        """See `GeneratorObjective.real_examples`."""
        tokens = self._file.examples.numpy()
        classes = torch.arange(len(tokens)) % len(CHARACTERS)
        return RealExamples(tokens, classes.numpy(), list(CHARACTERS))


class GreyPatches:
    """A decoder whose codes are patches of grey pixels (see models.tokenizers.decoder).

    Args:
        codes: [K, 4] in [0, 1], each 2 x 2 pixels.
        rows: h = w, the rows of tokens of an image.
    """

    def __init__(self, codes: Tensor, rows: int) -> None:
        self.codes, self.grid = codes, (rows, rows)

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] to grey images [B, 2 h, 2 w] in [0, 1]."""
        return decode(tokens, self.codes, self.grid[0])

    def flops(self) -> int:
        """Return 0, because nothing is computed."""
        return 0

    def to(self, device: str | torch.device) -> GreyPatches:
        """Move the codes to a device, and return this decoder."""
        self.codes = self.codes.to(device)
        return self


def yardstick(metric: str, data: str | None, mean_image: Tensor) -> Yardstick:
    """The yardstick of the letters, the same for all sizes.

    Args:
        metric: its name.
        data: the pictures, for a metric that compares the features themselves.
        mean_image: the mean of the real pictures, [H, W].

    Raises:
        ValueError: the metric is unknown, or needs the pictures; or a file cannot be read.
    """
    known = load_metric(metric)
    features = read_features(FOLDER / "features.safetensors")
    told = {"resize": "averaged to 16 x 16", "quantisation": "48 patches, the tokens themselves"}
    real: RealImages | Path = FOLDER / "reference.npz"
    if known.needs_real_features:
        real = _with_features(metric, features, data)
    return Yardstick(features, real, metric=known, mean_image=mean_image, protocol=told)


def _with_features(metric: str, features: Features, data: str | None) -> RealImages:
    if data is None:
        raise ValueError(
            f"metric {metric} needs the real pictures: give the setting data, a file that {MAKER} "
            "makes"
        )
    with one_thread(), torch.inference_mode():
        found: Tensor = features(read_pictures(data).images)
    return RealImages(statistics_of(found), found)


@dataclass(frozen=True)
class LetterExamples:
    """The training examples of the letters, read when they are needed; every tenth is held out.

    Attributes:
        data: the file of pictures; None where nothing is trained.
        side: the side of the pictures that are trained on.
        codes: [K, 4].
    """

    data: str | None
    side: int
    codes: Tensor

    def __call__(self) -> Examples:
        """The examples.

        Raises:
            ValueError: there is no file of pictures, or it cannot be read.
        """
        if self.data is None:
            raise ValueError(
                f"data: expected a file of pictures to train on, which {MAKER} makes, got None"
            )
        pictures = read_pictures(self.data).scaled(self.side)
        tokens, classes = encode(pictures.images, self.codes), pictures.classes
        held_out = torch.arange(len(tokens)) % HELD_OUT == 0
        return Examples(
            f"letters {pictures.hash()}, tokens {numbers_hash(tokens)}, codes "
            f"{numbers_hash(self.codes)}",
            (tokens, classes),
            (tokens[~held_out], classes[~held_out]),
            (tokens[held_out], classes[held_out]),
        )
