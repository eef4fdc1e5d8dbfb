"""Measures decoding of each family of public generators, for `benchmarks.gpu`.

The networks have the published sizes and random weights. What is compared is the rows of a chunk at
once, and as many as the card has room for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor

from benchmarks.gpu_rows import Bench, Row, passes_run, random_nat, timed, with_rate
from models.first_step import few_conditions
from models.generators.amused import AmusedGenerator, network_of
from models.generators.class_generator import ClassGenerator
from models.generators.generator import MaskedGenerator
from models.generators.halton import HaltonConfig, HaltonNetwork
from models.generators.halton_generator import HaltonGenerator
from models.generators.nat import NATConfig
from models.generators.titok import TiTokConfig, titok_network
from models.precision import device
from models.tokenizers.decoder import GreyLevels
from search.controls import published
from trials.objectives.generating import Generating

WORDS = 77
"""The tokens of a prompt of aMUSEd."""


def zoo(bench: Bench) -> Iterator[Row]:
    """Measure MUSE for classes, Halton-MaskGIT base and TiTok L-32."""
    for name, make, order in (
        ("MUSE, classes", _muse, "confidence"),
        ("Halton-MaskGIT base", _halton, "halton"),
        ("TiTok L-32", _titok, "confidence"),
    ):
        yield from _rows("zoo", name, make(bench.small), order, bench)


def amused(bench: Bench) -> Iterator[Row]:
    """Measure aMUSEd 256, which needs diffusers, with random states of prompts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield from _rows("amused", "aMUSEd 256", _amused(bench.small), "confidence", bench)


def _rows(
    part: str, name: str, generator: MaskedGenerator, order: str, bench: Bench
) -> Iterator[Row]:
    chunk, chunks, steps = (4, 2, 2) if bench.small else (50, 4, 8)
    precision = "float32" if bench.small else "bfloat16"
    strategy = published(steps).with_values({}, {"token_order": order})
    generator = generator.to(device())
    kept = few_conditions(generator, device()) is not None
    flops, n, first = generator.flops()["pass"] * passes_run(strategy, kept), chunk * chunks, None
    # Before rows are found, which needs a moment of its own.
    for rows in (chunk, None):
        drawing = Generating(generator, chunk=chunk, precision=precision, rows=rows)
        way = functools.partial(_all_tokens, drawing, strategy, n)
        times = timed(way, 1 if bench.small else 2)
        found = drawing.rows_at_once or chunk
        value = sorted(times)[len(times) // 2]
        first = first or value
        row = Row(
            part,
            f"{name}, n = {n}, {precision}, {found} rows{'' if rows else ' (found)'}",
            n / value,
            n / max(times),
            n / min(times),
            "images/s",
            ratio=first / value,
        )
        yield with_rate(row, flops * n / value, precision)


def _all_tokens(drawing: Generating[Any], strategy: Any, n: int) -> None:
    for _ in drawing.tokens(strategy, n, 1):
        pass


def _on_device(make: Callable[[], Any]) -> Any:
    """A network with random weights, made where it computes."""
    torch.manual_seed(0)
    with torch.device(device()):
        return make().eval().requires_grad_(False)


def _muse(small: bool) -> MaskedGenerator:
    sizes = (64, 16, 10, 32, 2, 2) if small else (1024, 256, 1000, 768, 12, 12)
    return random_nat(NATConfig(*sizes))


def _halton(small: bool) -> MaskedGenerator:
    sizes = (64, 16, 10, 32, 2, 2, 32, 64) if small else (16384, 256, 1000, 768, 12, 12, 768, 2048)
    config = HaltonConfig(*sizes)
    network = _on_device(lambda: HaltonNetwork(config))
    return HaltonGenerator(network, _grey(config.codebook_size, config.tokens))


def _titok(small: bool) -> MaskedGenerator:
    sizes = (64, 16, 10, 32, 64, 2, 2) if small else (4096, 32, 1000, 768, 3072, 24, 16)
    config = TiTokConfig("ViT", *sizes)
    network = _on_device(lambda: titok_network(config))
    return ClassGenerator(network, _Strip(config.codebook_size, (1, config.tokens)), titok_network)


def _amused(small: bool) -> MaskedGenerator:
    sizes: dict[str, Any] = {"downsample": False, "upsample": False, "sample_size": 16}
    if small:
        sizes |= {"sample_size": 4, "num_hidden_layers": 2, "intermediate_size": 64}
        sizes |= dict.fromkeys(("num_attention_heads", "block_num_heads"), 4)
        narrow = ("hidden_size", "cond_embed_dim", "encoder_hidden_size", "in_channels")
        sizes |= dict.fromkeys((*narrow, "block_out_channels"), 32)
        sizes |= {"codebook_size": 64, "vocab_size": 72}
    network = network_of(sizes).to_empty(device=device()).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.trunc_normal_(parameter, std=0.02)
    config = network.config
    decoder = _grey(config.codebook_size, config.sample_size**2)
    encoder: Any = _RandomStates(config.encoder_hidden_size, config.cond_embed_dim)
    mask = config.vocab_size - 1
    return AmusedGenerator(network, encoder, decoder, ("a prompt",), mask, 256)


def _grey(codes: int, tokens: int) -> GreyLevels:
    side = int(tokens**0.5)
    return GreyLevels(codes, (side, side))


class _Strip(GreyLevels):
    """A decoder of tokens that are no grid."""

    grid: Any = None

    def __init__(self, levels: int, shape: tuple[int, int]) -> None:
        super().__init__(levels, shape)
        self.grid = None


class _RandomStates:
    """A text encoder without a network: random states for any prompt."""

    tokens = WORDS

    def __init__(self, width: int, pooled: int) -> None:
        self._states, self._pooled = torch.randn(1, WORDS, width), torch.randn(1, pooled)

    def encode(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """The states of each prompt, [B, C, E], and its pooled vector, [B, P]."""
        count = len(prompts)
        return self._states.expand(count, -1, -1), self._pooled.expand(count, -1)

    def to(self, where: str | torch.device) -> Self:
        """Move the states to a device, and return this encoder."""
        self._states, self._pooled = self._states.to(where), self._pooled.to(where)
        return self
