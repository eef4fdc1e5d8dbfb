"""Measures what evaluations are made of one by one, for `benchmarks.gpu`: forward passes, sampling,
and FID from sums."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu_rows import Bench, Row, milliseconds, random_nat, timed, with_flops
from models.generators.conditions import Conditions
from models.generators.nat import NATConfig
from models.generators.nat_generator import pass_flops
from models.metrics.fid import estimate
from models.metrics.frechet import Sums
from models.precision import computing_in, device
from models.sampling import cumulated, sample_tokens

LETTERS = NATConfig(48, 256, 36, 128, 4, 4, dropout=0.0)


def forwards(bench: Bench) -> Iterator[Row]:
    """Measure forward passes: weights cast at each operation, and once."""
    half = "float32" if bench.small else "bfloat16"
    plans = [("L", 4)] if bench.small else [("L", 250), ("letters", 504)]
    for size, rows in plans:
        config = LETTERS if size == "letters" else bench.network(size)
        generator = random_nat(config)
        tokens = torch.full((rows, config.tokens), config.codebook_size, device=device())
        classes = Conditions(torch.arange(rows, device=device()) % 10)
        cast = generator if bench.small else generator.in_dtype(torch.bfloat16)
        ways: list[tuple[str, Any, bool]] = [
            ("autocast", generator, True),
            ("weights cast once", cast, False),
        ]
        first = None
        for name, network, autocast in ways:
            with torch.inference_mode(), computing_in(half, autocast=autocast):
                times = timed(functools.partial(network, tokens, classes), bench.repeats)
            row = milliseconds("forward", f"{size}, {rows} rows, {half}, {name}", times, first)
            first = first or row.value
            yield with_flops(row, pass_flops(config) * rows, half)


def sampling(bench: Bench) -> Iterator[Row]:
    """Measure how tokens are sampled from logits, and two ways to sum their probabilities."""
    batch, codes, first = *((4, 16) if bench.small else (504, 48)), None
    logits = torch.randn((batch, 256, codes), device=device())
    uniforms = torch.rand((batch, 256), device=device())
    probabilities = torch.softmax(logits, -1)
    ways: dict[str, Callable[[], object]] = {
        "sums, codes side by side": lambda: probabilities.clone().cumsum_(-1),
        "sums, ours": lambda: cumulated(probabilities.clone()),
        "all of it": lambda: sample_tokens(logits, 1.0, uniforms),
    }
    for name, way in ways.items():
        with torch.inference_mode():
            times = timed(way, bench.repeats)
        row = milliseconds("sampling", f"{batch} x 256, {codes} codes, {name}", times, first)
        first = first or row.value
        yield row


def distances(bench: Bench) -> Iterator[Row]:
    """Measure the estimate of FID from sums, on the device and on the CPU."""
    for width in (64,) if bench.small else (292, 2048):
        random = torch.Generator(device()).manual_seed(0)
        shape = (20, width // 4 + 20, width)
        x = torch.randn(shape, generator=random, dtype=torch.float64, device=device())
        groups = [Sums(part.sum(0), part.T @ part, len(part)) for part in x]
        real = sum(groups[1:], groups[0]).statistics()
        first = None
        for where in ("cpu",) if device() == "cpu" else ("cpu", "cuda"):
            there = real.to(where)
            moved = [Sums(s.features.to(where), s.outer.to(where), s.images) for s in groups]
            slow = where == "cpu" and width > 1000  # seconds: once, and without warming up
            with torch.inference_mode():
                there.root  # noqa: B018 - once for all evaluations
                way = functools.partial(estimate, there, moved)
                times = timed(way, *((1, 0) if slow else (bench.repeats, 1)))
            row = milliseconds("distance", f"{width} features, {where}", times, first)
            first = first or row.value
            yield row
