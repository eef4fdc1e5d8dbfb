"""Draws images from any generator so that a seed determines them.

The first images of a large n are those of a small n, and every strategy gets the same noise.

B: images at once, L: tokens an image.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar, cast

import torch
from torch import Tensor

from models.ceiling import product_flops
from models.compiled import CompiledGenerator
from models.decoding import Batch, Watch, generate, generate_together
from models.first_step import KeepsFirstStep, few_conditions
from models.generators.generator import Casts, MaskedGenerator
from models.memory import rows_that_fit, too_small
from models.precision import STAGES, StagePrecisions, computing_in, device, require_supported
from models.schedule_scores import Scored, generate_scored
from models.streams import ahead
from models.tokenizers.decoder import GridDecoder
from search.seeds import derived_seed
from search.strategy import GenerationStrategy
from trials.objectives.condition_draws import CLASS_DRAWS, draw_conditions

G = TypeVar("G", bound=MaskedGenerator)
Made = TypeVar("Made")

ALMOST_ALL = 1 - 1e-9
"""The mask ratio of the step by which memory is measured: all tokens but one are then predicted."""


@dataclass(frozen=True)
class Chunk:
    """Images that are generated with one strategy from one source of noise.

    Attributes:
        strategy: T <= L steps.
        source: the seed of this chunk.
        draw: returns the class or text numbers, and may use the source.
    """

    strategy: GenerationStrategy
    source: int
    draw: Callable[[torch.Generator], Tensor]


class Generating(Generic[G]):
    """A generator, and the way in which images are drawn from it.

    Args:
        generator: generates the images.
        classes: "equal" numbers of each class (or text), or "random" ones as in the paper, which
            makes a metric noisier.
        chunk: images generated at once from one source of noise, a multiple of the classes where
            there are few.
        precision: of the tokens, or of each stage (see models.precision.StagePrecisions).
        compiled: whether forward passes and decoders are compiled on a GPU (see models.compiled).
        rows: images that the generator sees at once, of one or more chunks. None: on a CPU
            what stays in its caches (see models.decoding), and on a GPU what it has room for (see
            models.memory).

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
        rows: int | None = None,
    ) -> None:
        if classes not in CLASS_DRAWS:
            raise ValueError(f"classes = {classes!r} is unknown; known: {', '.join(CLASS_DRAWS)}")
        if chunk < 1:
            raise ValueError(f"chunk = {chunk} is not positive")
        if rows is not None and rows < 1:
            raise ValueError(f"rows = {rows} is not positive")
        self.precision = StagePrecisions.parse(precision)
        self.generator = generator
        self._classes, self._chunk, self._compiled = classes, chunk, compiled
        self._predictor: MaskedGenerator | None = None
        self._decoder: Callable[[Tensor], Tensor] | None = None
        self._given_rows = rows
        self.rows_at_once = rows  # fewer once memory ran out

    def with_generator(self, generator: G) -> Self:
        """A copy that draws images in the same way from another generator."""
        found = copy.copy(self)
        found.generator, found.rows_at_once = generator, self.rows_at_once
        found._predictor = found._decoder = None  # they are of the other one
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
            self._predictor = self._decoder = None

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
            if (kinds := few_conditions(self.generator, device())) is not None:
                at_once = rows or self.rows_at_once or self._chunk
                # Without memory for them, logits are computed for each chunk.
                with contextlib.suppress(torch.OutOfMemoryError):
                    found = cast(MaskedGenerator, KeepsFirstStep(found, kinds, at_once))
            self._predictor = found
        return self._predictor

    def _decoding(self) -> Callable[[Tensor], Tensor]:
        """What turns tokens into pixels: the generator, or its compiled decoder, made once."""
        decoder = getattr(self.generator, "decoder", None)
        if not (self._compiled and device() != "cpu" and isinstance(decoder, GridDecoder)):
            return self.generator.decode
        if self._decoder is None:
            self._decoder = decoder.compiled()
        return self._decoder

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
        for _, pixels in self.images_of_each([strategy], images, [seed]):
            yield pixels

    def images_of_each(
        self, strategies: Sequence[GenerationStrategy], images: int, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Tensor]]:
        """The `images` of several strategies, one after the other, a chunk at a time.

        On a GPU, the tokens of the next ones are generated meanwhile.

        Args:
            strategies: each with T <= L steps.
            images: n of each strategy.
            seeds: one for each strategy.

        Returns:
            Pairs of the number of the strategy, from 0, and a chunk of its images.
        """
        numbers = range(len(strategies))
        firsts = range(0, images, self._chunk)
        turns = [(number, first) for number in numbers for first in firsts]
        made = (tokens for some in ahead(self._rounds(strategies, turns, seeds)) for tokens in some)
        for (number, first), tokens in zip(turns, made, strict=True):
            # Whole chunks are generated, so that the noise of an image does not depend on n.
            yield number, self.decoded(self._known(tokens[: images - first]))

    def tokens(self, strategy: GenerationStrategy, images: int, seed: int) -> Iterator[Tensor]:
        """The tokens of `images` before they are decoded, [B, L] int64."""
        turns = [(0, first) for first in range(0, images, self._chunk)]
        made = (tokens for some in self._rounds([strategy], turns, [seed]) for tokens in some)
        for (_, first), tokens in zip(turns, made, strict=True):
            yield tokens[: images - first]

    def scored(
        self, strategy: GenerationStrategy, images: int, seed: int
    ) -> Iterator[tuple[Tensor, Scored]]:
        """The class numbers [B] and the scored tokens of `images`, a chunk at a time.

        Raises:
            ValueError: there are more steps than tokens.
        """
        self.to(device())
        self._find_rows()
        for first in range(0, images, self._chunk):
            drawn, found = self._scored_chunk(strategy, first, seed)
            # Whole chunks are generated, so that the noise of an image does not depend on n.
            count = images - first
            tokens, forecasts = self._known(found.tokens[:count]), found.forecasts[:, :count]
            yield drawn[:count], Scored(tokens, found.scores[:count], forecasts)

    def _scored_chunk(
        self, strategy: GenerationStrategy, first: int, seed: int
    ) -> tuple[Tensor, Scored]:
        random = torch.Generator(device())
        random.manual_seed(derived_seed("images", seed, first // self._chunk))
        drawn = self._draw(first, random)
        conditions = self.generator.conditions_of(drawn)
        found = self._fitting(
            len(drawn),
            lambda rows: generate_scored(self._predicting(), conditions, strategy, random, rows),
        )
        if found is None:
            torch.cuda.empty_cache()
            return self._scored_chunk(strategy, first, seed)
        return drawn, found

    def _known(self, tokens: Tensor) -> Tensor:
        """The same tokens, of which none may be masked.

        On a GPU this waits for them, while those of the next chunks are generated.

        Raises:
            ValueError: the logits of an image were not finite, which left it masked.
        """
        if bool((tokens == self.generator.mask_token).any()):
            raise ValueError("expected finite logits of the generator, got NaN or infinity")
        return tokens

    def decoded(self, tokens: Tensor) -> Tensor:
        """The images [B, ...] in [0, 1] of tokens [B, L]."""
        with computing_in(self.precision.pixels):
            return self._decoding()(tokens)

    def _rounds(
        self,
        strategies: Sequence[GenerationStrategy],
        turns: Sequence[tuple[int, int]],
        seeds: Sequence[int],
    ) -> Iterator[list[Tensor]]:
        """The tokens of whole chunks, of as many at once as the rows have room for.

        Args:
            strategies: of all chunks.
            turns: the number of the strategy and of the first image of each chunk.
            seeds: one for each strategy.
        """
        self.to(device())
        chunks = [
            Chunk(
                strategies[number],
                derived_seed("images", seeds[number], first // self._chunk),
                functools.partial(self._draw, first),
            )
            for number, first in turns
        ]
        self._find_rows()
        while chunks:
            together = max(1, (self.rows_at_once or 1) // self._chunk)
            yield self.tokens_of_chunks(chunks[:together])
            chunks = chunks[together:]

    def tokens_of_chunks(self, chunks: Sequence[Chunk], watch: Watch | None = None) -> list[Tensor]:
        """The tokens of chunks that are generated together, [B, L] int64 each.

        Where memory runs out, the next try uses half the rows at once, and half the chunks.

        Args:
            chunks: at least one.
            watch: sees the steps of a single chunk (see `models.decoding.generate`).
        """
        self.to(device())
        found = self._try_chunks(chunks, watch)
        if found is not None:
            return found
        torch.cuda.empty_cache()
        if len(chunks) == 1:
            return self.tokens_of_chunks(chunks, watch)
        half = len(chunks) // 2
        return self.tokens_of_chunks(chunks[:half]) + self.tokens_of_chunks(chunks[half:])

    def _try_chunks(self, chunks: Sequence[Chunk], watch: Watch | None) -> list[Tensor] | None:
        sources = [torch.Generator(device()).manual_seed(chunk.source) for chunk in chunks]
        drawn = [chunk.draw(source) for chunk, source in zip(chunks, sources, strict=True)]
        batches = [
            Batch(self.generator.conditions_of(numbers), chunk.strategy, source)
            for numbers, chunk, source in zip(drawn, chunks, sources, strict=True)
        ]

        def made(rows: int | None) -> list[Tensor]:
            if len(batches) > 1:
                return generate_together(self._predicting(), batches, rows)
            (one,) = batches
            told = (one.conditions, one.strategy, one.random, rows, watch)
            return [generate(self._predicting(), *told)]

        return self._fitting(sum(map(len, drawn)), made)

    def _fitting(self, images: int, make: Callable[[int | None], Made]) -> Made | None:
        """What is made with as many rows at once as are known to fit.

        Where memory runs out, it is None, and half the rows are taken from then on.

        Args:
            images: how many are made.
            make: makes them, given the rows at once.
        """
        rows = self._compiled_rows or self.rows_at_once
        try:
            with computing_in(self.precision.tokens, autocast=not self._casts):
                return make(rows)
        except torch.OutOfMemoryError as error:
            if rows == 1:
                raise too_small(error) from None
            self.rows_at_once = min(rows or 2 * images, 2 * images) // 2
            self._predictor = None
            return None

    def _find_rows(self) -> None:
        """Find once how many rows a GPU has room for, if no number is given.

        Compiled forward passes have the rows of a chunk, because their number is fixed.
        """
        if self.rows_at_once is not None or self._compiled or device() == "cpu":
            return
        length = self.generator.tokens
        strategy = GenerationStrategy.maskgit(min(2, length))
        most = replace(strategy, mask_ratio=(ALMOST_ALL,) * (strategy.steps - 1))
        trial = Chunk(most, 0, functools.partial(self._draw, 0))
        self.tokens_of_chunks([trial])  # what is kept from then on is made
        found = rows_that_fit(length, self._chunk, lambda: self.tokens_of_chunks([trial]))
        if self.rows_at_once is None:  # else memory ran out
            self.rows_at_once = found

    def __getstate__(self) -> dict[str, Any]:
        """The state for a worker, whose device may have another memory."""
        made = {"_predictor": None, "_decoder": None}
        return self.__dict__ | made | {"rows_at_once": self._given_rows}

    def _draw(self, first: int, random: torch.Generator) -> Tensor:
        """The class numbers [chunk], or text numbers, of the images from number `first` on."""
        count = self.generator.num_conditions or 1
        return draw_conditions(self._classes, count, first, self._chunk, random)
