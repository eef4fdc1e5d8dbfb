"""Checks that everything that uses a GPU runs on this one, and gives the same numbers as the CPU.

    python -m benchmarks.gpu_check                       # under 4 minutes on one H100
    python -m benchmarks.gpu_check --out gpu.json --only digits,memory

It runs on a bare machine, and needs only what `models` needs (torch, torchmetrics, einops,
safetensors, scikit-learn, pandas, scipy, Pillow); the check of texts also needs transformers, and
that of Ray needs Ray and Optuna. A check that fails does not stop the others. Without a GPU, or
with --small, the same checks run on small networks, in a minute.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_bench import RULE, Bench, measured_digits, quiet
from benchmarks.gpu_files import write_clip
from models.data.contexts import store_contexts
from models.data.image_sources import open_source
from models.data.text import load_text_encoder
from models.data.tokenize import Tokenizing, tokenize
from models.generators.nat import NAT
from models.metrics.fid import estimate
from models.metrics.frechet import Sums
from models.precision import device
from models.threads import one_thread
from search.measurement import Measurement
from search.strategy import GenerationStrategy
from search.training_strategy import TrainingStrategy
from trials.objectives.images import ImagesObjective

BETA = TrainingStrategy("beta", {"alpha": 12, "beta": 3})
CHECKS: dict[str, Callable[[Bench], str]] = {}


class Skipped(Exception):
    """Raised by a check that cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Row:
    """The result of a check: "ok", "failed" or "skipped", with its numbers or the reason."""

    name: str
    verdict: str
    seconds: float
    found: str
    traceback: str | None = None


def check(name: str) -> Callable[[Callable[[Bench], str]], Callable[[Bench], str]]:
    """Register a check: a function that returns what it found, or raises."""

    def register(made: Callable[[Bench], str]) -> Callable[[Bench], str]:
        CHECKS[name] = made
        return made

    return register


@check("digits")
def digits(bench: Bench) -> str:
    """Train and measure digits twice, with the same number, and sample."""
    objective = bench.digits()
    bench.on_the_cpu()
    first, again = (objective.evaluate(RULE(8), bench.images, 1) for _ in range(2))
    _require(first.value == again.value, f"FID {first.value!r}, then {again.value!r}")
    _require(objective.sample(RULE(8), 20, 1).shape == (20, 8, 8), "samples of another shape")
    return f"{_value(first)}, the same twice"


@check("distance")
def distance(bench: Bench) -> str:
    """Compute distances from the same sums on the device and on the CPU."""
    width = 64 if bench.small else 2048
    made = torch.Generator().manual_seed(0)
    x = torch.randn((20, width // 4 + 20, width), generator=made, dtype=torch.float64)
    scales = torch.linspace(1, 0.01, width).double()
    groups = [Sums(part.sum(0), part.T @ part, len(part)) for part in x * scales]
    real = [Sums(part.sum(0), part.T @ part, len(part)) for part in x.flip(2)[:5]]
    fids, seconds = [], []
    for where in (device(), device(), "cpu"):
        first, *more = (_moved(sums, where) for sums in real)
        fake = [_moved(sums, where) for sums in groups]
        started = time.perf_counter()
        with one_thread():  # as evaluations do
            fids.append(estimate(sum(more, first).statistics(), fake).value)
        seconds.append(time.perf_counter() - started)
    _require(math.isclose(fids[0], fids[-1], rel_tol=1e-6), f"FIDs {fids}")
    apart = abs(fids[0] - fids[-1]) / fids[-1]
    times = ", ".join(f"{s:.2f} s" for s in seconds)
    return f"{width} features: {apart:.0e} apart; {device()}, again, CPU: {times}"


@check("images")
def images(bench: Bench) -> str:
    """Measure AutoNAT-L, VQGAN and Inception at full size in bfloat16 twice, with one number."""
    features, n = ("pixels", 60) if bench.small else ("inception", 2100)
    objective = bench.published(
        "L", features, precision="bfloat16", chunk=20 if bench.small else 100
    )
    first, again = (objective.evaluate(RULE(4), n, 1) for _ in range(2))
    _require(first.value == again.value, f"FID {first.value!r}, then {again.value!r}")
    _require(objective.sample(RULE(4), 4, 1).ndim == 4, "samples of another shape")
    return f"{_value(first)} by {features}, the same twice; {n / again.seconds:.0f} images/s"


@check("precisions")
def precisions(bench: Bench) -> str:
    """Measure the FID in every precision of the generator."""
    fids = {}
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        objective = bench.published("S", "pixels", precision=precision, chunk=50)
        measured = objective.evaluate(RULE(4), bench.images, 1)
        _require(measured.finite, f"{precision}: FID {measured.value}")
        fids[precision] = f"{measured.value:.3f}"
    return ", ".join(f"{name} {fid}" for name, fid in fids.items())


@check("training")
def training(bench: Bench) -> str:
    """Tokenise pictures with VQGAN, and train a NAT in bfloat16, with and without a resume."""
    data = tokenize(
        Tokenizing(
            open_source(bench.pictures()),
            f"vqgan:{bench.networks()['vqgan']}",
            16 if bench.small else 64,
            bench.folder / "tokens",
            workers=0,
        ),
        lambda _: quiet,
    )
    sizes = {"width": 32, "depth": 2, "num_heads": 2} if bench.small else {"size": "S"}
    objective = ImagesObjective(
        data=str(data.folder),
        precision="bfloat16",
        batch_size=32 if bench.small else 256,
        microbatch=16 if bench.small else 128,
        warmup_steps=5,
        ema_decay=0.9,
        **sizes,
        **bench.reference("pixels"),
    )
    losses, half, steps = [], 10, 20
    for name, rungs in (("a", ((half, steps),)), ("b", ((half,), (steps,)))):  # b resumes
        for part in rungs:
            for model in objective.train(BETA, 0, part, bench.folder / name, bench.folder, None):
                losses.append(float(model.validation_loss or math.nan))
        measured = model.objective.evaluate(RULE(4), bench.images, 1)
        _require(measured.finite, f"FID {measured.value}")
    found = f"validation loss {losses[0]:.3f}, {losses[1]:.3f} after {half}, {steps} steps"
    _require(losses[1] < losses[0], found)
    apart = abs(losses[3] - losses[1])
    _require(apart < 0.01, f"{found}; resumed: {losses[3]:.3f}")
    return f"{found}; resumed: {apart:.0e} apart"


@check("texts")
def texts(bench: Bench) -> str:
    """Encode captions with a small CLIP, and train and measure a NAT that takes them."""
    try:
        clip = bench.made("clip", write_clip)
    except ImportError as error:
        raise Skipped(str(error)) from None
    captions = bench.pictures().parent / "captions.tsv"
    source, folder = open_source(bench.pictures(), captions), bench.folder / "texts"
    run = Tokenizing(source, "patches", 16, folder, 4, 32, workers=0)
    data = tokenize(run, lambda _: quiet)
    encoder = load_text_encoder(f"clip:{clip}", 8)
    store_contexts(data, encoder, 256, quiet)
    objective = ImagesObjective(
        data=str(folder),
        width=64,
        depth=4,
        num_heads=4,
        training_steps=20 if bench.small else 100,
        batch_size=64,
        warmup_steps=5,
        ema_decay=0.9,
        precision="bfloat16",
        chunk=50,
        **bench.reference("pixels"),
    )
    objective.prepare(bench.folder, quiet)
    guided = GenerationStrategy.maskgit(4)
    first, again = (objective.evaluate(guided, bench.images, 1) for _ in range(2))
    _require(first.value == again.value, f"FID {first.value!r}, then {again.value!r}")
    return f"{_value(first)}, the same twice"


@check("memory")
def memory(bench: Bench) -> str:
    """Generate a chunk with too little memory: in parts, with the same result."""
    chunk = 60 if bench.small else 500
    objective = bench.published("S", "pixels", chunk=chunk)
    whole, tokens, peak = _generated(objective, chunk)
    objective._generating.rows_at_once = max(1, chunk // 16)
    *_, least = _generated(objective, chunk)
    objective._generating.rows_at_once = None
    with _limited((peak + least) // 2, chunk // 4):
        halved, again, _ = _generated(objective, chunk)
    rows = objective._generating.rows_at_once
    _require(rows is not None and rows < chunk, f"memory sufficed: peak {peak}, in parts {least}")
    same = (tokens == again).all(1).double().mean().item()
    kind = f"{peak / 2**30:.1f} GiB, then {(peak + least) / 2**31:.1f}" if peak else "made up"
    found = f"{kind}: parts of {rows} rows; FID {whole.value:.4f}, {halved.value:.4f}; "
    found += f"{same:.1%} of the images the same"
    error = whole.standard_error or 0.0
    _require(same > 0.9 and abs(whole.value - halved.value) <= 0.2 * error, found)
    return found


@check("digits: the CPU's FID")
def digits_as_on_the_cpu(bench: Bench) -> str:
    """Compare the FIDs of the same weights on GPU and CPU, 5 seeds each: within 3 errors."""
    here = [Measurement.from_json(told) for told in json.loads(measured_digits(bench))]
    said, complained = bench.on_the_cpu().communicate()
    _require(bool(said), f"on the CPU: {complained.strip()[-300:]}")
    there = [Measurement.from_json(told) for told in json.loads(said.splitlines()[-1])]
    (a, a_error), (b, b_error) = _mean(here), _mean(there)
    error = math.hypot(a_error, b_error)
    found = f"{a:.3f} ± {a_error:.3f} on {device()}, {b:.3f} ± {b_error:.3f} on the CPU"
    _require(abs(a - b) <= 3 * error, found)
    return f"{found}: {abs(a - b) / error:.1f} standard errors apart"


@check("Ray")
def ray(bench: Bench) -> str:
    """Run trials that use the whole GPU, and half of it."""
    if not torch.cuda.is_available():
        raise Skipped("no GPU")
    try:
        from benchmarks.gpu_ray import measured_on_ray
    except ImportError as error:
        raise Skipped(str(error)) from None
    here = bench.digits().evaluate(RULE(8), 400, 1).value
    lines = []
    for gpus, fids, devices in measured_on_ray(bench.digits(), bench.folder):
        _require(set(fids) == {here}, f"FID {here!r}, on Ray {fids}")
        _require(set(devices) == {"cuda"}, f"workers measured on {devices}")
        lines.append(f"{gpus:g} GPU per trial: {len(fids)} trials")
    return f"{', '.join(lines)}; the same FID as in the driver"


def _generated(objective: ImagesObjective, chunk: int) -> tuple[Measurement, torch.Tensor, int]:
    """Return the FID and tokens of a chunk, and the peak of GPU memory."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        tokens = next(objective._generating.tokens(RULE(4), chunk, 1)).cpu()
    measured = objective.evaluate(RULE(4), chunk, 1)
    return measured, tokens, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


@contextmanager
def _limited(reserved: int, rows: int) -> Iterator[None]:
    """Limit the memory of the GPU to that many bytes; without a GPU, allow only so many rows."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(reserved / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    forward = NAT.forward

    def small(self: NAT, tokens: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        if len(tokens) > rows:
            raise torch.OutOfMemoryError(f"no memory for {len(tokens)} rows")
        return forward(self, tokens, *others)

    NAT.forward = small  # type: ignore[method-assign]
    try:
        yield
    finally:
        NAT.forward = forward  # type: ignore[method-assign]


def _moved(sums: Sums, where: str) -> Sums:
    return Sums(sums.features.to(where), sums.outer.to(where), sums.images)


def _mean(found: list[Measurement]) -> tuple[float, float]:
    """Return the mean of FIDs, and its standard error."""
    error = math.sqrt(sum((m.standard_error or 0.0) ** 2 for m in found)) / len(found)
    return statistics.fmean(m.value for m in found), error


def _value(measured: Measurement) -> str:
    return f"FID {measured.value:.3f} ± {measured.standard_error or math.nan:.3f}"


def _require(held: bool, found: str) -> None:
    if not held:
        raise ValueError(found)


def run(names: list[str], bench: Bench) -> Iterator[Row]:
    """Run these checks; a check that fails does not stop the others."""
    for name in names:
        gc.collect()
        trace, started = None, time.perf_counter()
        try:
            verdict, found = "ok", CHECKS[name](bench)
        except Skipped as reason:
            verdict, found = "skipped", str(reason)
        except Exception as error:
            verdict, trace = "failed", traceback.format_exc()
            found = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        yield Row(name, verdict, time.perf_counter() - started, found, trace)


def machine() -> dict[str, str]:
    """Describe this machine, as far as numbers depend on it."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"card": card, "torch": torch.__version__, "python": platform.python_version()}


def main() -> int:
    """Run the checks, print their results, and write them to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    parser.add_argument("--small", action="store_true", help="use small networks and few images")
    parser.add_argument("--only", default=",".join(CHECKS), help="names of checks, with commas")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in CHECKS]:
        parser.error(f"check {unknown[0]!r} is unknown; known: {', '.join(CHECKS)}")
    small = given.small or not torch.cuda.is_available()
    facts: dict[str, Any] = {**machine(), "small": small}
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="autonat-gpu-", ignore_cleanup_errors=True) as folder:
        for row in run(names, Bench(Path(folder), small)):
            rows.append(row)
            print(f"{row.name:22} {row.verdict:8} {row.seconds:6.1f} s  {row.found}", flush=True)
            if given.out is not None:
                content = facts | {"checks": [asdict(row) for row in rows]}
                given.out.write_text(json.dumps(content, indent=2) + "\n")
    counts = {v: sum(row.verdict == v for row in rows) for v in ("ok", "failed", "skipped")}
    said = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    print(f"{said}, in {sum(row.seconds for row in rows):.0f} s")
    for row in rows:
        if row.traceback:
            print(f"\n{row.name}\n{row.traceback}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
