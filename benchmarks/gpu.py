"""Measures how close to a device's ceiling everything runs that an evaluation or a training needs.

    python -m benchmarks.gpu --out gpu.json                 # under 5 minutes on one H100
    python -m benchmarks.gpu --only letters,training

It compares a literal port of the public sampler with ours, on the same card and in one run. The
networks have the published sizes and random weights, so that nothing is downloaded; it runs on a
bare machine, and needs only what `models` needs. A part that fails does not stop the others, and
the JSON is written after each. Without a GPU, or with --small, everything is small, and takes some
seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.decoding import literal
from benchmarks.gpu_bench import quiet
from benchmarks.gpu_check import machine
from benchmarks.gpu_files import write_networks
from benchmarks.gpu_rows import (
    Bench,
    Row,
    line_of,
    milliseconds,
    random_nat,
    timed,
    with_flops,
    with_rate,
)
from benchmarks.gpu_together import together
from benchmarks.gpu_zoo import amused, zoo
from models.ceiling import product_flops
from models.compiled import CompiledGenerator
from models.features.inception import Inception
from models.flops import decode_flops
from models.generators.conditions import Conditions
from models.generators.nat import NATConfig
from models.generators.nat_generator import NATGenerator, pass_flops
from models.metrics.fid import estimate
from models.metrics.frechet import Sums
from models.precision import computing_in, device
from models.threads import one_thread
from models.tokenizers.vqgan import VQGAN, VQGANConfig
from models.training.settings import TrainingSettings
from models.training.training import train_in_rungs
from search.controls import published
from search.training_strategy import TrainingStrategy
from trials.objectives import generating
from trials.objectives.generating import Generating
from trials.objectives.images import ImagesObjective
from trials.objectives.letters.objective import LettersObjective

STRATEGY = published(8)
VQGAN_F16 = VQGANConfig(1024, 256, (128, 128, 256, 256, 512), 2)


def ceilings(bench: Bench) -> Iterator[Row]:
    """Measure matrix products in every precision."""
    for precision in bench.precisions:
        found = product_flops(precision)
        yield Row("ceiling", precision, found / 1e12, found / 1e12, found / 1e12, "TFLOP/s")


def forwards(bench: Bench) -> Iterator[Row]:
    """Measure a forward pass of AutoNAT-L: weights cast at each operation, once, and compiled."""
    rows, half = (4, "float32") if bench.small else (250, "bfloat16")
    config = bench.network("L")
    generator = random_nat(config)
    tokens = torch.full((rows, config.tokens), config.codebook_size, device=device())
    classes = Conditions(torch.arange(rows, device=device()) % 10)
    cast = generator if bench.small else generator.in_dtype(torch.bfloat16)
    ways: list[tuple[str, Any, bool]] = [
        ("autocast", generator, True),
        ("weights cast once", cast, False),
    ]
    if not bench.small:
        ways.append(("compiled", CompiledGenerator(cast, rows), False))
    first = None
    for name, network, autocast in ways:
        with torch.inference_mode(), computing_in(half, autocast=autocast):
            times = timed(functools.partial(network, tokens, classes), bench.repeats)
        row = milliseconds("forward", f"L, {rows} rows, {half}, {name}", times, first)
        first = first or row.value
        yield with_flops(row, pass_flops(config) * rows, half)


def decodings(bench: Bench) -> Iterator[Row]:
    """Compare decoding with the literal port of the public sampler."""
    plans = [("L", 125, "bfloat16"), ("L", 125, "tf32"), ("S", 250, "bfloat16")]
    if bench.small:
        plans = [("S", 8, "float32")]
    for size, batch, precision in plans:
        config = bench.network(size)
        generator = random_nat(config)
        classes = torch.randint(config.num_classes or 1, (batch,), device=device())

        def port(generator: NATGenerator = generator, classes: torch.Tensor = classes) -> None:
            literal(generator.nat, classes, STRATEGY)

        first, rate = None, batch * 1000
        for name, compiled in (("literal port", None), ("ours", False), ("ours, compiled", True)):
            if compiled and (bench.small or precision != "bfloat16"):
                continue
            way: Callable[[], object] = port
            if compiled is not None:
                ours = Generating(generator, chunk=batch, precision=precision, compiled=compiled)

                def way(ours: Generating[NATGenerator] = ours, batch: int = batch) -> None:
                    list(ours.tokens(STRATEGY, batch, 1))

            with computing_in(precision):
                times = timed(way, bench.repeats)
            ms = milliseconds("decoding", f"{size}, batch {batch}, {precision}, {name}", times)
            first = first or ms.value
            passes = 16 if compiled is None else STRATEGY.forward_passes()
            row = Row(
                ms.part,
                ms.what,
                rate / ms.value,
                rate / ms.highest,
                rate / ms.lowest,
                "images/s",
                ratio=first / ms.value,
            )
            flops = pass_flops(config) * batch * passes / (ms.value / 1000)
            yield with_rate(row, flops, precision)


def stages(bench: Bench) -> Iterator[Row]:
    """Measure decoding to pixels, and the features of images."""
    count, at_once = (2, 2) if bench.small else (100, 25)
    made, side = (VQGANConfig(64, 16, (32, 32), 1), 8) if bench.small else (VQGAN_F16, 16)
    tokenizer = VQGAN(made).eval().to(device())
    tokens = torch.randint(made.codebook_size, (count, side, side), device=device())

    def pixels() -> list[torch.Tensor]:
        return [tokenizer.decode(part) for part in torch.split(tokens, at_once)]

    flops, first = decode_flops(tokenizer, (side, side)) * count, None
    for precision in ("default", "float32") if bench.small else ("default", "bfloat16"):
        with torch.inference_mode(), computing_in(precision):
            times = timed(pixels, bench.repeats)
        row = milliseconds("pixels", f"VQGAN, {count} images, {precision}", times, first)
        first = first or row.value
        yield with_flops(row, flops, "float32" if bench.small else "tf32")
    if bench.small:
        return
    tokenizer.decoder.compile(dynamic=False)
    with torch.inference_mode(), computing_in("default"):
        times = timed(pixels, bench.repeats)
    row = milliseconds("pixels", f"VQGAN, {count} images, default, compiled", times, first)
    yield with_flops(row, flops, "tf32")
    inception = Inception().eval().to(device())
    images = torch.rand((count, 3, 256, 256), device=device())
    with torch.inference_mode(), computing_in("default"):
        times = timed(lambda: inception(images), bench.repeats)
    yield milliseconds("features", f"Inception, {count} images, default", times)


def distances(bench: Bench) -> Iterator[Row]:
    """Measure the estimate of FID from sums, on the device and on the CPU."""
    for width in (64,) if bench.small else (292, 2048):
        random = torch.Generator().manual_seed(0)
        x = torch.randn((20, width // 4 + 20, width), generator=random, dtype=torch.float64)
        groups = [Sums(part.sum(0), part.T @ part, len(part)) for part in x]
        real = sum(groups[1:], groups[0]).statistics()
        first = None
        for where in ("cpu",) if device() == "cpu" else ("cpu", "cuda"):
            if where == "cpu" and width > 1000:
                continue  # half a minute
            there = real.to(where)
            moved = [Sums(s.features.to(where), s.outer.to(where), s.images) for s in groups]
            with torch.inference_mode():
                times = timed(functools.partial(estimate, there, moved), bench.repeats)
            row = milliseconds("distance", f"{width} features, {where}", times, first)
            first = first or row.value
            yield row


def evaluations(bench: Bench) -> Iterator[Row]:
    """Measure a whole evaluation of AutoNAT-L with VQGAN and Inception."""
    if bench.small:
        return
    files = write_networks(bench.folder / "networks", small=False)
    reference = bench.folder / "real.npz"
    np.savez(reference, mu=np.zeros(2048), sigma=np.eye(2048))
    n = 2_500
    first = None
    for name, compiled in (("", False), (", no tokens ahead", False), (", compiled", True)):
        objective = ImagesObjective(
            features=f"inception:{files['inception']}",
            reference=str(reference),
            weights=str(files["L"]),
            tokenizer=f"vqgan:{files['vqgan']}",
            size="L",
            grid=16,
            num_classes=1000,
            chunk=125,
            precision="bfloat16",
            compiled=compiled,
        )
        objective.prepare(bench.folder, quiet)
        with patch.object(generating, "ahead", iter) if "ahead" in name else nullcontext():
            objective.sample(STRATEGY, 125, 2)  # libraries and compilers prepare themselves
            found = objective.evaluate(STRATEGY, n, 1)
        first = first or found.seconds
        told = objective.describe()["flops"]
        flops = (told["pass"] * STRATEGY.forward_passes() + told["decode"]) * n / found.seconds
        what = f"L, VQGAN, Inception, n = {n:,}, bfloat16{name}"
        rate = n / found.seconds
        row = Row("evaluation", what, rate, rate, rate, "images/s", ratio=first / found.seconds)
        yield with_rate(row, flops, "bfloat16")


def letters(bench: Bench) -> Iterator[Row]:
    """Measure evaluations of the letters that come with the package."""
    size, n = ("small", 300) if bench.small else ("large", 1_000)
    plans = [("float32", False)] if bench.small else [("bfloat16", False), ("bfloat16", True)]
    strategy, first = published(2 if bench.small else 8), None
    for precision, compiled in plans:
        objective = LettersObjective(size=size, precision=precision, compiled=compiled)
        objective.prepare(bench.folder, quiet)
        seeds = iter(range(100))
        times = timed(
            lambda: objective.evaluate(strategy, n, next(seeds)),  # noqa: B023
            1 if bench.small else 2 * bench.repeats,
        )
        name = f"{size}, n = {n:,}, {precision}{', compiled' if compiled else ''}"
        row = milliseconds("letters", name, times, first)
        first = first or row.value
        told = objective.describe()["flops"]
        yield with_flops(row, told["pass"] * strategy.forward_passes() * n, precision)


def training(bench: Bench) -> Iterator[Row]:
    """Measure the training of a network of the size of the letters'."""
    sizes = (32, 2, 2) if bench.small else (128, 4, 4)
    side, batch, steps = (4, 16, 20) if bench.small else (16, 256, 300)
    config = NATConfig(48, side**2, 36, *sizes, dropout=0.0)
    precision = "float32" if bench.small else "bfloat16"
    tokens, classes = torch.randint(48, (2000, side**2)), torch.arange(2000) % 36
    settings = TrainingSettings(
        TrainingStrategy("cosine"), steps=steps, batch_size=batch, precision=precision
    )
    folder = bench.folder / "training"
    begun = steps // 4
    rungs = train_in_rungs(config, settings, tokens, classes, folder, quiet, (begun, steps))
    next(rungs)
    times = timed(lambda: next(rungs), 1, warm_up=0)
    rate = (steps - begun) / times[0]
    flops = 3 * pass_flops(config) * batch * rate  # backward takes twice the products
    name = f"letters, {batch} images a step, {precision}"
    yield with_rate(Row("training", name, rate, rate, rate, "steps/s"), flops, precision)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "ceiling": ceilings,
    "letters": letters,
    "together": together,
    "training": training,
    "distance": distances,
    "forward": forwards,
    "decoding": decodings,
    "evaluation": evaluations,
    "stages": stages,
    "zoo": zoo,
    "amused": amused,
}


def run(names: Sequence[str], bench: Bench) -> Iterator[Row | str]:
    """Measure these parts; yield their rows, and a line for each part that failed."""
    for name in names:
        try:
            with one_thread():  # as evaluations and trainings have
                yield from PARTS[name](bench)
        except Exception as error:
            yield f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if device() == "cuda":
            torch.cuda.empty_cache()


def main() -> int:
    """Measure, print the table, and write it to a file; the exit code is 1 if a part failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    parser.add_argument("--small", action="store_true", help="small networks and few images")
    parser.add_argument("--only", default=",".join(PARTS), help="names of parts, with commas")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"part {unknown[0]!r} is unknown; known: {', '.join(PARTS)}")
    small = given.small or not torch.cuda.is_available()
    content: dict[str, Any] = {
        **machine(),
        "small": small,
        "rows": [],
        "failed": [],
        "seconds": 0.0,
    }
    print(", ".join(f"{name} {content[name]}" for name in (*machine(), "small")), flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="autonat-gpu-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), small, 1 if small else given.repeats)
        for found in run(names, bench):
            print(found if isinstance(found, str) else line_of(found), flush=True)
            if isinstance(found, str):
                content["failed"].append(found)
            else:
                content["rows"].append(asdict(found))
            content["seconds"] = round(time.perf_counter() - began, 1)
            if given.out is not None:
                given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{content['seconds']} seconds in all")
    return 1 if content["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
