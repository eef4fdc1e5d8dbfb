"""The rows of the table of `benchmarks.gpu`: how they are timed, and how they look."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.ceiling import product_flops, synchronise
from models.generators.nat import NAT, NATConfig
from models.generators.nat_generator import NATGenerator
from models.precision import device
from models.tokenizers.decoder import GreyLevels
from search.strategy import GenerationStrategy
from trials.objectives.images import SIZES


@dataclass(frozen=True)
class Row:
    """One number of the table.

    Attributes:
        part: the part of the benchmark.
        what: what was measured.
        value: the median.
        lowest: of the repeats.
        highest: of the repeats.
        unit: of the value: "ms", "images/s", …
        tflops: 10^12 floating-point operations a second, or None where they are not counted.
        share: of the ceiling in the same precision, or None.
        ratio: how many times as fast as the first row of its kind, or None.
    """

    part: str
    what: str
    value: float
    lowest: float
    highest: float
    unit: str
    tflops: float | None = None
    share: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Bench:
    """What all parts share: the sizes, and a folder for files."""

    folder: Path
    small: bool
    repeats: int

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of tokens to compare."""
        return ("float32",) if self.small else ("bfloat16", "float32", "tf32", "float16")

    def network(self, size: str) -> NATConfig:
        """Return the sizes of AutoNAT-`size` on ImageNet-256, or small ones."""
        if self.small:
            return NATConfig(64, 16, 10, 32, 2, 2)
        return NATConfig(1024, 256, 1000, *SIZES[size])


def random_nat(config: NATConfig) -> NATGenerator:
    torch.manual_seed(0)
    side = int(config.tokens**0.5)
    nat = NAT(config).eval().to(device())
    return NATGenerator(config, GreyLevels(config.codebook_size, (side, side)), nat=nat)


def passes_run(strategy: GenerationStrategy, kept: bool = True) -> int:
    """Return the forward passes that run for each image.

    Args:
        strategy: generates the images.
        kept: whether a GPU keeps the logits of the first step (see `models.first_step`).
    """
    saved = 1 + strategy.guided[0] if kept and device() != "cpu" else 0
    return strategy.forward_passes() - saved


def timed(way: Callable[[], object], repeats: int, warm_up: int = 1) -> list[float]:
    """Return the seconds of each repeat."""
    found = []
    for turn in range(repeats + warm_up):
        synchronise()
        started = time.perf_counter()
        way()
        synchronise()
        if turn >= warm_up:
            found.append(time.perf_counter() - started)
    return found


@contextmanager
def busy_shares(found: list[float]) -> Iterator[None]:
    """Add to `found` the shares of time in % in which the machine's first GPU ran anything.

    Each share is of half a second of the block; those of its ends are left out. Without nvidia-smi,
    or where it does not know, nothing is added.
    """
    if shutil.which("nvidia-smi") is None:
        yield
        return
    asked = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "-lms", "500"]
    command = [*asked, "--format=csv,noheader,nounits"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            yield
        finally:
            watching.terminate()
        told, _ = watching.communicate()
    found += [float(line) for line in told.split()[2:-1] if line.isdecimal()]


def milliseconds(part: str, what: str, times: Sequence[float], first: float | None = None) -> Row:
    ms = [1000 * seconds for seconds in times]
    value = statistics.median(ms)
    ratio = None if first is None else first / value
    return Row(part, what, value, min(ms), max(ms), "ms", ratio=ratio)


def with_flops(row: Row, flops: float, precision: str) -> Row:
    """Return a row in milliseconds with the operations that it took."""
    return with_rate(row, flops / (row.value / 1000), precision)


def with_rate(row: Row, flops: float, precision: str) -> Row:
    told = asdict(row) | {"tflops": flops / 1e12, "share": flops / product_flops(precision)}
    return Row(**told)


def line_of(row: Row) -> str:
    """Return a row of the table in words."""
    value = f"{row.value:,.4g} {row.unit}"
    if row.lowest != row.highest:
        value += f" ({row.lowest:,.4g} to {row.highest:,.4g})"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} times"
    speed = "" if row.tflops is None else f"{row.tflops:.3g} TFLOP/s, {row.share or 0:.0%}"
    return f"{row.part:11} {row.what:52} {value:38} {ratio:11} {speed}".rstrip()
