"""Draws images from any generator so that a seed determines them.

The first images of a large n are those of a small n, and every strategy gets the same noise.

B: images at once, L: tokens an image.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar, cast

import torch
from torch import Tensor

from models.ceiling import product_flops
from models.compiled import CompiledGenerator
from models.decoding import Watch, generate
from models.generators.generator import Casts, MaskedGenerator
from models.precision import STAGES, StagePrecisions, computing_in, device, require_supported
from search.seeds import derived_seed
from search.strategy import GenerationStrategy

CLASS_DRAWS = {"equal": "equal numbers", "random": "random"}
"""How classes, or texts, are drawn, each with the words for it in a protocol."""


G = TypeVar("G", bound=MaskedGenerator)


class Generating(Generic[G]):
    """A generator, and the way in which images are drawn from it.

    Args:
        generator: generates the images.
        classes: "equal" numbers of each class (or text), or "random" ones as in the paper, which
            makes a metric noisier.
        chunk: images generated at once from one source of noise, a multiple of the classes where
            there are few.
        precision: of the tokens, or of each stage (see models.precision.StagePrecisions).
        compiled: whether forward passes are compiled on a GPU (see models.compiled).

    Raises:
        ValueError: a setting is outside its range.
    """

    def __init__(
        self,
        generator: G,
        *,
        classes: str = "random",
        chunk: int = 100,
        precision: str = "float32",
        compiled: bool = False,
    ) -> None:
        if classes not in CLASS_DRAWS:
            raise ValueError(f"classes = {classes!r} is unknown; known: {', '.join(CLASS_DRAWS)}")
        if chunk < 1:
            raise ValueError(f"chunk = {chunk} is not positive")
        self.precision = StagePrecisions.parse(precision)
        self.generator = generator
        self._classes, self._chunk, self._compiled = classes, chunk, compiled
        self._predictor: MaskedGenerator | None = None
        self.rows_at_once: int | None = None  # the whole chunk, until memory runs out

    def with_generator(self, generator: G) -> Self:
        """A copy that draws images in the same way from another generator."""
        found = copy.copy(self)
        found.generator, found._predictor = generator, None
        return found

    @property
    def classes(self) -> int:
        """How many classes a fair sample of images contains in equal numbers.

        It is 1 where the generator takes no condition, or texts.
        """
        one = self.generator.conditions_of(torch.zeros(1, dtype=torch.int64, device=device()))
        return (self.generator.num_conditions or 1) if one.are_numbers else 1

    def describe(self) -> str:
        """How the classes, or texts, are drawn, in the words of a protocol."""
        return CLASS_DRAWS[self._classes]

    def require_supported(self) -> None:
        """Refuse precisions that the GPU of this process, if there is one, does not have.

        Raises:
            ValueError: the GPU lacks one.
        """
        for stage in STAGES:
            require_supported(getattr(self.precision, stage))

    def ceiling(self) -> float | None:
        """The operations a second of large matrix products in the precision of the tokens.

        None on a CPU, and on a GPU without room for them.
        """
        if device() == "cpu":
            return None
        try:
            return product_flops(self.precision.tokens)
        except torch.OutOfMemoryError:
            return None

    def to(self, where: str) -> None:
        """Move the generator to a device."""
        self.generator = self.generator.to(where)
        if where == "cpu":
            self._predictor = None

    def _predicting(self) -> MaskedGenerator:
        """What computes the logits: the generator, or its fast form on a GPU, made once.

        bfloat16 has the range of float32, so that weights and sums between blocks can have it.
        float16 has not, so that it remains with autocast.
        """
        if device() == "cpu":
            return self.generator
        if self._predictor is None:
            found: MaskedGenerator = self.generator
            if self._casts:
                found = cast(Casts, found).in_dtype(torch.bfloat16)
            if (rows := self._compiled_rows) is not None:
                found = cast(MaskedGenerator, CompiledGenerator(found, rows))
            self._predictor = found
        return self._predictor

    @property
    def _casts(self) -> bool:
        """Whether the weights are cast once, in place of autocast at each operation."""
        half = self.precision.tokens == "bfloat16"
        return half and device() != "cpu" and isinstance(self.generator, Casts)

    @property
    def _compiled_rows(self) -> int | None:
        """The images at once of all compiled forward passes; None where they are not compiled."""
        if not self._compiled or device() == "cpu":
            return None
        return self.rows_at_once or self._chunk

    def images(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """Images in [0, 1], [B, 3, H, W] or [B, H, W], a chunk at a time.

        Args:
            strategy: T <= L steps.
            images: n, the images of all chunks together.
            seed: of the classes and all noise.

        Raises:
            ValueError: there are more steps than tokens.
        """
        for tokens in self.tokens(strategy, images, seed):
            with computing_in(self.precision.pixels):
                pixels = self.generator.decode(tokens)
            yield pixels

    def tokens(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """The tokens of `images` before they are decoded, [B, L] int64."""
        for index, first in enumerate(range(0, images, self._chunk)):
            draw = functools.partial(self._draw, index * self._chunk)
            tokens = self._chunk_of(strategy, derived_seed("images", seed, index), draw)
            # Whole chunks, so that the noise of an image does not depend on n.
            yield tokens[: images - first]

    def rows_of(
        self, strategy: GenerationStrategy, conditions: Sequence[int], rows: int, seed: int
    ) -> Iterator[Tensor]:
        """The tokens of `rows` images of each of these conditions, [len(conditions), L] a row.

        They are no part of what is measured.

        Args:
            strategy: T <= L steps.
            conditions: numbers of classes or texts (see `shown_conditions`).
            rows: how many images of each.
            seed: of all noise.
        """
        for row in range(rows):
            source = derived_seed("pictures", seed, row)
            yield self._chunk_of(strategy, source, _always(conditions))

    def steps_of(
        self, strategy: GenerationStrategy, conditions: Sequence[int], seed: int
    ) -> list[tuple[Tensor, Tensor]]:
        """The steps in which the first row of `rows_of` forms.

        Returns:
            For each step the tokens that it sampled and those that it left, where masked ones are
            the mask token; both [len(conditions), L].
        """
        steps: list[tuple[Tensor, Tensor]] = []
        source = derived_seed("pictures", seed, 0)
        self._chunk_of(strategy, source, _always(conditions), lambda *step: steps.append(step))
        return steps[-strategy.steps :]  # those before are of tries for which memory ran out

    def shown_conditions(self, most: int) -> list[int]:
        """The classes or texts to show in pictures: all of them, or `most` from the whole range.

        A generator without conditions has one, which is repeated.
        """
        known = self.generator.num_conditions or 1
        columns = most if known == 1 else min(most, known)
        return [column * known // columns for column in range(columns)]

    def _chunk_of(
        self,
        strategy: GenerationStrategy,
        source: int,
        draw: Callable[[torch.Generator], Tensor],
        watch: Watch | None = None,
    ) -> Tensor:
        """The tokens of one chunk, which has a source of noise of its own.

        Where memory runs out, the next try uses parts of half the size.

        Args:
            strategy: T <= L steps.
            source: the seed of this chunk.
            draw: returns the class or text numbers, and may use the source.
            watch: see `models.decoding.generate`.
        """
        self.to(device())
        while (tokens := self._try_chunk(strategy, source, draw, watch)) is None:
            torch.cuda.empty_cache()
        return tokens

    def _try_chunk(
        self,
        strategy: GenerationStrategy,
        source: int,
        draw: Callable[[torch.Generator], Tensor],
        watch: Watch | None,
    ) -> Tensor | None:
        random = torch.Generator(device()).manual_seed(source)
        drawn = draw(random)
        conditions = self.generator.conditions_of(drawn)
        rows = self._compiled_rows or self.rows_at_once
        try:
            with computing_in(self.precision.tokens, autocast=not self._casts):
                return generate(self._predicting(), conditions, strategy, random, rows, watch)
        except torch.OutOfMemoryError as error:
            if rows == 1:
                raise torch.OutOfMemoryError(f"no memory for a single image: {error}") from None
            self.rows_at_once = (rows or 2 * len(drawn)) // 2
            self._predictor = None
            return None

    def _draw(self, first: int, random: torch.Generator) -> Tensor:
        """The class numbers [chunk], or text numbers, of the images from number `first` on."""
        count, chunk, where = self.generator.num_conditions or 1, self._chunk, random.device
        if self._classes == "random":
            return torch.randint(count, (chunk,), device=where, generator=random)
        numbers = torch.arange(first, first + chunk, device=where)
        drawn: Tensor = numbers * _stride(count, chunk) % count
        return drawn


def _always(conditions: Sequence[int]) -> Callable[[torch.Generator], Tensor]:
    return lambda random: torch.tensor(conditions, device=random.device)


def _stride(classes: int, chunk: int) -> int:
    """The step from the class of one image to that of the next.

    It is 1 where a chunk contains all classes. Otherwise it is the golden section of the classes,
    so that the classes of any run of images are spread evenly.
    """
    stride = 1 if classes <= chunk else round(classes * 0.618)
    while math.gcd(stride, classes) > 1:
        stride += 1
    return stride
