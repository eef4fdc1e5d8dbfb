"""The objective `images`: a generator of tokenised images, measured in FID or another metric.

It is a NAT that is trained on token data (`autonat tokenize`), or a published checkpoint of any
family. A tokenizer decodes its tokens to images, which are compared with the statistics of real
ones.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.contexts import TextContexts
from models.data.token_data import TokenData
from models.data.tokenize import tokenizer_of
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.generators.published import load_nat
from models.generators.registry import named_kind, with_kind
from models.tokenizers.decoder import GridDecoder
from models.tokenizers.tokenizer import Tokenizer, load_tokenizer
from models.training.settings import TrainingSettings, training_precision
from search.space import Space
from search.training_strategy import TrainingStrategy
from trials.objectives.named_paths import KindAndPath, PathText
from trials.objectives.nat_objective import NATObjective
from trials.objectives.nat_training import NATTraining
from trials.objectives.published_generator import published_generator
from trials.objectives.real_examples import RealExamples
from trials.objectives.token_examples import TokenExamples, real_examples, texts_to_generate
from trials.objectives.yardstick import Yardstick

logger = logging.getLogger(__name__)
OF_OWN_NETWORKS = (
    *("width", "depth", "training_steps", "training_seed", "batch_size", "microbatch"),
    *("learning_rate", "warmup_steps", "betas", "label_smoothing", "class_dropout", "ema_decay"),
    *("dropout", "mask_ratio_distribution"),
)
"""The settings that say nothing of weights named KIND:PATH. Presets have the size that a published
network has."""
USUAL_PARAMETERS = {"alpha": 12, "beta": 3}
"""Of the distribution of mask ratios."""
SIZES = {"S": (512, 12, 8), "B": (768, 12, 8), "L": (768, 24, 8)}
"""Width, depth and heads of AutoNAT-S and AutoNAT-L; B is our own size between them."""


@dataclass(frozen=True)
class OwnTokenizer:
    """Loads a tokenizer by its name, or the one that token data were made with.

    Attributes:
        name: as in models.tokenizers.tokenizer; None for the tokenizer of the data.
        data: a folder of token data, which must be made with the tokenizer; None for none.
    """

    name: str | None
    data: Path | None

    def __call__(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            ValueError: it cannot be loaded, or the data were made with another one.
        """
        data = None if self.data is None else TokenData.open(self.data)
        if data is not None and self.name is None:
            return tokenizer_of(data)
        found = load_tokenizer(str(self.name))
        if data is not None and found.hash() != data.settings.tokenizer_hash:
            raise ValueError(f"{data.folder} was tokenised with another tokenizer than {self.name}")
        return found


@dataclass(frozen=True)
class PublishedWeights:
    """Loads a NAT from a published checkpoint.

    Attributes:
        training: the training of a NAT of the expected sizes.
        path: of the checkpoint.
    """

    training: NATTraining
    path: str

    def __call__(self) -> NAT:
        """The NAT.

        Raises:
            ValueError: the file is not a checkpoint, or is of another network.
        """
        nat = load_nat(self.path, self.training.config.num_heads)
        self.training.check_network(nat.config, self.path)
        if self.training.null_context is not None:
            nat.set_null_context(self.training.null_context)
        return nat


class ImagesObjective(NATObjective):
    """Measures strategies on a generator of tokenised images.

    Args:
        features: inception:PATH, inception-bicubic:PATH, inception-adm:PATH or pixels:PATH (see
            models.features.image_features).
        reference: a .npz file with mu and sigma of the real images.
        data: a folder of token data to train on; with captions, the NAT takes texts.
        weights: a published checkpoint, in place of training: KIND:PATH (see
            models.generators.registry), or the PATH alone of a kind that is recognised; sizes come
            from the file. The PATH alone of a NAT is of the sizes below.
        tokenizer: needed with `weights` and without data (see models.tokenizers.tokenizer); by
            default that of the data.
        grid: the side of the square of tokens, needed without data and KIND.
        num_classes: needed with `weights` and without data and KIND.
        prompts: token data with the captions to generate for; by default `data`.
        size: S, B or L.
        width: D, in place of that of the size.
        depth: blocks besides the middle one, in place of those of the size.
        num_heads: attention heads, in place of those of the size, or those that the KIND assumes.
        quantise: whether images are rounded to 8 bits before they are measured.
        classes: "random" ones, as in the paper, or "equal" numbers of each.
        chunk: images generated at once.
        precision: of the tokens, or of each stage: "tokens:bfloat16,pixels:float32" (see
            models.precision); that of the tokens is also that of training where it is supported.
        compiled: whether forward passes and decoders are compiled on a GPU (see models.compiled).
        rows: images that the generator sees at once; found by itself if it is not given.
        training_steps: optimiser steps.
        training_seed: of the weights and batches.
        batch_size: images of each step.
        microbatch: images that are trained on at once; None for the whole batch.
        learning_rate: of AdamW.
        warmup_steps: of the learning rate.
        betas: of AdamW. For few steps on a small network the first should be 0.9, which forgets
            sooner.
        label_smoothing: in [0, 1).
        class_dropout: the probability that a condition is dropped, in [0, 1).
        ema_decay: of the moving average of the weights.
        dropout: of the embeddings, in training.
        mask_ratio_distribution: the name of a distribution in search.training_strategy.
        checkpoint: the hash of weights in the lab's store, to measure these in place of training.
        metric: fid, fid-infinity, fid-leading, kid, mmd, or your own (see models.metrics.metric);
            kid and mmd need a reference with features (`autonat statistics --keep-features`).
        parameters: of the distribution, by name.

    Raises:
        ValueError: a setting is outside its range, or files are missing or do not fit together.
    """

    def __init__(
        self,
        *,
        features: KindAndPath,
        reference: PathText,
        data: PathText | None = None,
        weights: PathText | KindAndPath | None = None,
        tokenizer: KindAndPath | None = None,
        grid: int | None = None,
        num_classes: int | None = None,
        prompts: PathText | None = None,
        size: str = "S",
        width: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        quantise: bool = False,
        classes: str = "random",
        chunk: int = 100,
        precision: str = "float32",
        compiled: bool = False,
        rows: int | None = None,
        training_steps: int = 500_000,
        training_seed: int = 0,
        batch_size: int = 2048,
        microbatch: int | None = None,
        learning_rate: float = 4e-4,
        warmup_steps: int = 5000,
        betas: tuple[float, float] = (0.99, 0.99),
        label_smoothing: float = 0.1,
        class_dropout: float = 0.15,
        ema_decay: float = 0.9999,
        dropout: float = 0.1,
        mask_ratio_distribution: str = "beta",
        checkpoint: str | None = None,
        metric: str = "fid",
        **parameters: float,
    ) -> None:
        if (data is None) == (weights is None) and checkpoint is None:
            raise ValueError(
                f"expected either data or weights, got data = {data} and weights = {weights}"
            )
        if weights is not None and checkpoint is not None:
            raise ValueError(
                f"expected either checkpoint or weights, got both, weights = {weights}"
            )
        yardstick = Yardstick(features, reference, metric=metric, quantise=quantise)
        drawing: dict[str, Any] = {
            "classes": classes,
            "chunk": chunk,
            "precision": precision,
            "compiled": compiled,
            "rows": rows,
        }
        own = {name: value for name, value in locals().items() if name in OF_OWN_NETWORKS}
        self._tokenizer_name = tokenizer
        weights = None if weights is None else with_kind(weights)
        if weights is not None and named_kind(weights)[0] is not None:
            _tell_unused(weights, {**own, **parameters})
            self._data_folder = None
            given = {"tokenizer": tokenizer, "num_heads": num_heads, "prompts": prompts}
            generator = published_generator(weights, given, grid, num_classes)
            self._prompts = getattr(generator, "prompts", None)
            super().__init__(
                generator,
                yardstick,
                None,
                dataset=self._dataset_in_words(weights),
                conditions=self._conditions_in_words(),
                **drawing,
            )
            return
        if size not in SIZES:
            raise ValueError(f"size = {size!r} is unknown; known: {', '.join(SIZES)}")
        # Workers start in another folder.
        self._data_folder = None if data is None else Path(data).resolve()
        texts = None if prompts is None else TokenData.open(Path(prompts).resolve())
        self._prompts = texts_to_generate(texts, self._data)
        self._grid = self._find_grid(grid)
        self._decoder = GridDecoder(OwnTokenizer(tokenizer, self._data_folder), self._grid)
        config = self._network(size, width, depth, num_heads, num_classes, dropout)
        if mask_ratio_distribution == "beta" and not parameters:
            parameters = dict(USUAL_PARAMETERS)
        settings = TrainingSettings(
            strategy=TrainingStrategy(mask_ratio_distribution, parameters),
            steps=training_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            betas=betas,
            label_smoothing=label_smoothing,
            class_dropout=class_dropout,
            ema_decay=ema_decay,
            seed=training_seed,
            precision=training_precision(precision),
            microbatch=microbatch,
        )
        training = self._training_of(config, settings)
        super().__init__(
            NATGenerator(config, self._decoder, self._prompts),
            yardstick,
            training,
            published=None if weights is None else PublishedWeights(training, weights),
            dataset=self._dataset_in_words(weights),
            conditions=self._conditions_in_words(),
            checkpoint=checkpoint,
            **drawing,
        )

    def _network(
        self,
        size: str,
        width: int | None,
        depth: int | None,
        num_heads: int | None,
        num_classes: int | None,
        dropout: float,
    ) -> NATConfig:
        """The sizes of the NAT, which follow from `size`, where not given, and from the tokens."""
        usual = SIZES[size]
        return NATConfig(
            self._find_codebook_size(),
            math.prod(self._grid),
            self._find_classes(num_classes),
            width=usual[0] if width is None else width,
            depth=usual[1] if depth is None else depth,
            num_heads=usual[2] if num_heads is None else num_heads,
            dropout=dropout,
            context_width=None if self._prompts is None else self._prompts.states.shape[2],
        )

    def _training_of(self, config: NATConfig, settings: TrainingSettings) -> NATTraining:
        """The training of a NAT of these sizes on the token data."""
        null_context = None if self._prompts is None else self._prompts.null
        examples = TokenExamples(self._data_folder, self._prompts)
        return NATTraining(config, settings, examples, null_context)

    def real_examples(self) -> RealExamples | None:
        """See `GeneratorObjective.real_examples`. Prompts are known without images."""
        return self._examples

    @functools.cached_property
    def _examples(self) -> RealExamples | None:
        if isinstance(self._prompts, tuple):
            return RealExamples.without_images(self.tokens, self._prompts)
        generator: Any = self._generating.generator  # one for texts has a GridDecoder
        return real_examples(self._data, self._prompts, lambda: generator.decoder.tokenizer.hash())

    def check(self, space: Space, images: int) -> None:
        """See `Checks.check`. It also checks that tokenizer, features and statistics fit
        together."""
        super().check(space, images)
        if self._given_training is None:
            return
        codes = self._decoder.tokenizer.codebook_size
        expected = self._generating.generator.codebook_size
        if codes != expected:
            raise ValueError(
                f"expected a tokenizer with the {expected} codes of the tokens, got {codes} codes"
            )

    def _find_grid(self, given: int | None) -> tuple[int, int]:
        if self._data is not None:
            found = self._data.settings.grid
            if given is not None and (given, given) != found:
                raise ValueError(f"grid = {given}, but {self._data_folder} has {found}")
            return found
        if given is None or given < 1:
            raise ValueError(
                f"grid: expected the side of the square of tokens, since there are no data, got "
                f"{given}"
            )
        return given, given

    def _find_codebook_size(self) -> int:
        if self._data is not None:
            return self._data.settings.codebook_size
        if self._tokenizer_name is None:
            raise ValueError("tokenizer: expected a name, since there are no data, got None")
        return self._decoder.tokenizer.codebook_size

    def _find_classes(self, given: int | None) -> int | None:
        if self._prompts is not None:
            return None
        if self._data is not None:
            classes = max(1, self._data.num_classes)
            if given is not None and given != classes:
                raise ValueError(
                    f"num_classes = {given}, but {self._data_folder} has {classes} classes"
                )
            return classes
        if given is None:
            raise ValueError("num_classes: expected a number, since there are no data, got None")
        return given

    @functools.cached_property
    def _data(self) -> TokenData | None:
        return None if self._data_folder is None else TokenData.open(self._data_folder)

    def _dataset_in_words(self, weights: str | None) -> str:
        if self._data is None:
            return f"of {Path(named_kind(str(weights))[1]).name}"
        return f"{self._data.images} images, tokens {self._data.hash()[:15]}"

    def _conditions_in_words(self) -> str:
        texts = self._prompts
        if isinstance(texts, TextContexts):
            return f"captions of {len(texts.first)} images"
        return "classes" if texts is None else f"{len(texts)} prompts"

    def __getstate__(self) -> dict[str, Any]:
        """The state for a worker, without the data, which a worker that trains opens again."""
        state = super().__getstate__()
        for name in ("_data", "_examples"):
            state.pop(name, None)
        return state


def _tell_unused(weights: str, given: Mapping[str, Any]) -> None:
    """Warn of settings of networks that are trained here, beside weights of a kind.

    They are not refused: presets, and searches that are resumed, have some.
    """
    known = inspect.signature(ImagesObjective).parameters
    usual = {name: known[name].default for name in OF_OWN_NETWORKS} | USUAL_PARAMETERS
    unused = [name for name, value in given.items() if value != usual.get(name)]
    if unused:
        logger.warning(
            "%s: unused, since its file gives the sizes and it is not trained: %s",
            *(weights, ", ".join(f"{name} = {given[name]!r}" for name in unused)),
        )
