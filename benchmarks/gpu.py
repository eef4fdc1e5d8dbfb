"""Measures how close to a device's ceiling everything runs that an evaluation or a training needs.

    python -m benchmarks.gpu --out gpu.json                 # about 5 minutes on one H200
    python -m benchmarks.gpu --only letters,training

It compares a literal port of the public sampler with ours, on the same card and in one run. The
networks have the published sizes and random weights, so that nothing is downloaded; it runs on a
bare machine, and needs only what `models` needs. What compiling, kept logits and streams are worth
is measured beside the same without them. The most important parts come first: a part that fails
does not stop the others, the JSON is written after each row, and after --seconds no further part
begins. Without a GPU, or with --small, everything is small, and takes some seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.decoding import literal
from benchmarks.gpu_bench import quiet
from benchmarks.gpu_check import machine
from benchmarks.gpu_files import write_networks
from benchmarks.gpu_pieces import LETTERS, distances, forwards, sampling
from benchmarks.gpu_rows import (
    Bench,
    Row,
    busy_shares,
    line_of,
    milliseconds,
    passes_run,
    random_nat,
    timed,
    with_flops,
    with_rate,
)
from benchmarks.gpu_together import together
from benchmarks.gpu_zoo import amused, zoo
from models.ceiling import product_flops
from models.features.inception import Inception
from models.generators.nat import NATConfig
from models.generators.nat_generator import NATGenerator, pass_flops
from models.precision import computing_in, device
from models.threads import one_thread
from models.tokenizers.decoder import GridDecoder
from models.tokenizers.vqgan import VQGAN, VQGANConfig
from models.training import training as training_module
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


def decodings(bench: Bench) -> Iterator[Row]:
    """Compare decoding of AutoNAT-L with the literal port of the public sampler."""
    size, batch, precision = ("S", 8, "float32") if bench.small else ("L", 125, "bfloat16")
    yield from _decoded("decoding", size, batch, precision, bench)


def other_decodings(bench: Bench) -> Iterator[Row]:
    """Compare it for AutoNAT-S, and for AutoNAT-L in TF32."""
    if not bench.small:
        yield from _decoded("others", "S", 250, "bfloat16", bench)
        yield from _decoded("others", "L", 125, "tf32", bench)


def _decoded(part: str, size: str, batch: int, precision: str, bench: Bench) -> Iterator[Row]:
    config = bench.network(size)
    generator = random_nat(config)
    classes = torch.randint(config.num_classes or 1, (batch,), device=device())
    ways: dict[str, Callable[[], object]] = {
        "literal port": lambda: literal(generator.nat, classes, STRATEGY)
    }
    names = ["ours, no logits kept"] if part == "decoding" else []
    names += ["ours", "ours, compiled"] if precision == "bfloat16" else ["ours"]
    for name in names:
        compiled = "compiled" in name
        ours = Generating(generator, chunk=batch, precision=precision, compiled=compiled)
        ways[name] = functools.partial(_all_tokens, ours, batch)
    first, repeats = None, bench.repeats if part == "decoding" else min(bench.repeats, 3)
    for name, way in ways.items():
        with computing_in(precision), without_kept_logits("no logits" in name):
            times = timed(way, repeats)
        value = statistics.median(times)
        first = first or value
        what = f"{size}, batch {batch}, {precision}, {name}"
        rates = [batch / seconds for seconds in (value, max(times), min(times))]
        row = Row(part, what, *rates, "images/s", ratio=first / value)
        passes = 16 if name == "literal port" else passes_run(STRATEGY, "no logits" not in name)
        yield with_rate(row, pass_flops(config) * passes * rates[0], precision)


def _all_tokens(ours: Generating[NATGenerator], images: int) -> None:
    for _ in ours.tokens(STRATEGY, images, 1):
        pass


def without_kept_logits(really: bool = True) -> AbstractContextManager[object]:
    """Compute the logits of the first step for each chunk, as without `models.first_step`."""
    none = patch.object(generating, "few_conditions", lambda *_: None)
    return none if really else nullcontext()


def stages(bench: Bench) -> Iterator[Row]:
    """Measure decoding to pixels, and the features of images."""
    count = 2 if bench.small else 100
    made, side = (VQGANConfig(64, 16, (32, 32), 1), 8) if bench.small else (VQGAN_F16, 16)
    decoder = GridDecoder(lambda: VQGAN(made).eval(), (side, side))
    tokens = torch.randint(made.codebook_size, (count, side * side), device=device())
    flops, first = decoder.flops() * count, None
    ways: list[tuple[str, bool]] = [("default", False), ("float32", False)]
    if not bench.small:
        halves = (("bfloat16", False), ("bfloat16", True))
        ways = [("default", False), ("default", True), *halves]
    for precision, compiled in ways:
        decode = decoder.compiled() if compiled else decoder.decode
        with torch.inference_mode(), computing_in(precision):
            times = timed(functools.partial(decode, tokens), bench.repeats)
        name = f"VQGAN, {count} images, {precision}{', compiled' if compiled else ''}"
        row = milliseconds("pixels", name, times, first)
        first = first or row.value
        ceiling = {"default": "tf32"}.get(precision, precision)
        yield with_flops(row, flops, "float32" if bench.small else ceiling)
    if bench.small:
        return
    inception = Inception().eval().to(device())
    images = torch.rand((count, 3, 256, 256), device=device())
    with torch.inference_mode(), computing_in("default"):
        times = timed(lambda: inception(images), bench.repeats)
    yield milliseconds("features", f"Inception, {count} images, default", times)


def evaluations(bench: Bench) -> Iterator[Row]:
    """Measure a whole evaluation of AutoNAT-L with VQGAN and Inception."""
    if bench.small:
        return
    files = write_networks(bench.folder / "networks", small=False)
    reference = bench.folder / "real.npz"
    np.savez(reference, mu=np.zeros(2048), sigma=np.eye(2048))
    first = flops = None
    faster = "tokens:bfloat16,pixels:bfloat16"
    before = ", tokens not ahead, no logits kept"
    for name, n, compiled, precision in (
        (before, 2_500, False, "bfloat16"),
        ("", 2_500, False, "bfloat16"),
        (", compiled", 10_000, True, "bfloat16"),
        (", compiled, pixels in bfloat16", 2_500, True, faster),
    ):
        objective = ImagesObjective(
            features=f"inception:{files['inception']}",
            reference=str(reference),
            weights=str(files["L"]),
            tokenizer=f"vqgan:{files['vqgan']}",
            size="L",
            grid=16,
            num_classes=1000,
            chunk=125,
            precision=precision,
            compiled=compiled,
        )
        objective.prepare(bench.folder, quiet)
        ahead = patch.object(generating, "ahead", iter) if name == before else nullcontext()
        with ahead, without_kept_logits(name == before):
            objective.sample(STRATEGY, 125, 2)  # libraries and compilers prepare themselves
            busy: list[float] = []
            with busy_shares(busy):
                found = objective.evaluate(STRATEGY, n, 1)
        flops = flops or dict(objective.describe()["flops"])
        what = f"L, VQGAN, Inception, n = {n:,}{name}"
        rate = n / found.seconds
        first = first or rate
        row = Row("evaluation", what, rate, rate, rate, "images/s", ratio=rate / first)
        passes = passes_run(STRATEGY, kept=name != before)
        spent = (flops["pass"] * passes + flops["decode"]) * rate
        yield with_rate(row, spent, "bfloat16")
        if busy:
            yield Row("evaluation", f"GPU busy{name}", fmean(busy), min(busy), max(busy), "%")


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
        yield with_flops(row, told["pass"] * passes_run(strategy) * n, precision)


def training(bench: Bench) -> Iterator[Row]:
    """Measure the training of a network of the size of the letters'."""
    side, batch, steps = (4, 16, 20) if bench.small else (16, 256, 400)
    config = NATConfig(48, side**2, 36, 32, 2, 2, dropout=0.0) if bench.small else LETTERS
    precision = "float32" if bench.small else "bfloat16"
    tokens, classes = torch.randint(48, (2000, side**2)), torch.arange(2000) % 36
    settings = TrainingSettings(
        TrainingStrategy("cosine"), steps=steps, batch_size=batch, precision=precision
    )
    begun, first = steps // 4, None
    for name, compiled_from in (("", steps + 1), (", compiled", 0)):
        if name and bench.small:
            return
        folder = bench.folder / f"training{compiled_from}"
        with patch.object(training_module, "COMPILED_FROM", compiled_from):
            rungs = train_in_rungs(config, settings, tokens, classes, folder, quiet, (begun, steps))
            next(rungs)
        times = timed(functools.partial(next, rungs), 1, warm_up=0)
        rate = (steps - begun) / times[0]
        first = first or rate
        flops = 3 * pass_flops(config) * batch * rate  # backward takes twice the products
        what = f"letters, {batch} images a step, {precision}{name}"
        row = Row("training", what, rate, rate, rate, "steps/s", ratio=rate / first)
        yield with_rate(row, flops, precision)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "decoding": decodings,
    "evaluation": evaluations,
    "together": together,
    "training": training,
    "stages": stages,
    "letters": letters,
    "forward": forwards,
    "sampling": sampling,
    "zoo": zoo,
    "amused": amused,
    "distance": distances,
    "ceiling": ceilings,
    "others": other_decodings,
}


def run(name: str, bench: Bench) -> Iterator[Row | str]:
    """Measure a part; yield its rows, and a line if it failed."""
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
    parser.add_argument("--seconds", type=float, default=270, help="when no further part begins")
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
        "left_out": [],
        "seconds_of": {},
        "seconds": 0.0,
    }
    print(", ".join(f"{name} {content[name]}" for name in (*machine(), "small")), flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="autonat-gpu-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), small, 1 if small else given.repeats)
        for name in names:
            if content["seconds"] > given.seconds:
                content["left_out"].append(name)
                print(f"{name}: left out, {given.seconds} seconds are over", flush=True)
                continue
            before = content["seconds"]
            for found in run(name, bench):
                print(found if isinstance(found, str) else line_of(found), flush=True)
                kind, told = (
                    ("failed", found) if isinstance(found, str) else ("rows", asdict(found))
                )
                content[kind].append(told)
                content["seconds"] = round(time.perf_counter() - began, 1)
                _write(content, given.out)
            content["seconds"] = round(time.perf_counter() - began, 1)
            content["seconds_of"][name] = round(content["seconds"] - before, 1)
            print(f"{name} took {content['seconds_of'][name]} seconds", flush=True)
        _write(content, given.out)
    print(f"{content['seconds']} seconds in all")
    return 1 if content["failed"] else 0


def _write(content: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
