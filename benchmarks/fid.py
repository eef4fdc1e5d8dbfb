"""FID at the published size: the memory of statistics, and the time and error of the distance.

    python -m benchmarks.fid                     # 50,000 x 2,048 features; takes minutes

The features are drawn with a decaying spectrum, similar to Inception's. They are compared with
public code: numpy's mean and covariance of all features, and scipy's sqrtm of the product of the
covariances. The two are timed in turn, and only the ratio of their times matters.
"""

from __future__ import annotations

import functools
import multiprocessing
import operator
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from multiprocessing.queues import SimpleQueue

import numpy as np
import scipy.linalg
import torch
import typer
from torch import Tensor

from models.metrics.fid import FID
from models.metrics.frechet import Statistics, frechet_distance
from models.metrics.metric import statistics_of

BATCH = 500


def drawn(images: int, width: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of positive, correlated features; float32."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(width, width, generator=generator) * torch.arange(1, width + 1) ** -0.5
    generator.manual_seed(seed)
    for first in range(0, images, BATCH):
        n = min(BATCH, images - first)
        yield (torch.randn(n, width, generator=generator) @ mix.T + 0.1 * seed).relu()


def streamed(images: int, width: int, memory: SimpleQueue[float]) -> None:
    """Stream statistics; report the memory in GiB after the imports, and at the peak."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = (FID().part(batch) for batch in drawn(images, width, 1))
    functools.reduce(operator.add, parts).statistics()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory.put(before / 2**20)
    memory.put(peak / 2**20)


def scipy_distance(real: Statistics, fake: Statistics) -> float:
    """Compute the distance like public code."""
    root = scipy.linalg.sqrtm(real.covariance.numpy() @ fake.covariance.numpy())
    difference = real.mean - fake.mean
    traces = real.covariance.trace() + fake.covariance.trace()
    return float(difference @ difference + traces) - 2 * float(np.trace(root).real)


def main(images: int = 50_000, width: int = 2048, repeats: int = 3, threads: int = 1) -> None:
    """Print the rows of the table in docs/images.md."""
    torch.set_num_threads(threads)
    context = multiprocessing.get_context("spawn")
    memory: SimpleQueue[float] = context.SimpleQueue()
    process = context.Process(target=streamed, args=(images, width, memory))
    process.start()
    before, peak = memory.get(), memory.get()
    process.join()
    print(f"statistics of {images:,} x {width:,} features: {peak:.2f} GiB, imports {before:.2f}")
    few = 4 * width
    real, fake = (statistics_of(torch.cat(list(drawn(few, width, seed)))) for seed in (1, 2))
    ratios = []
    for _ in range(repeats):
        started = time.perf_counter()
        theirs = scipy_distance(real, fake)
        middle = time.perf_counter()
        anew = Statistics(real.mean, real.covariance, real.images)  # its root is not cached
        first = float(frechet_distance(anew, fake))
        rooted = time.perf_counter()
        ours = float(frechet_distance(anew, fake))
        ended = time.perf_counter()
        ratios.append(
            ((middle - started) / (rooted - middle), (middle - started) / (ended - rooted))
        )
        print(
            f"scipy {middle - started:.2f} s, ours with the root of the real covariance "
            f"{rooted - middle:.2f} s, without {ended - rooted:.2f} s; "
            f"{theirs:.6f} and {ours:.6f}, difference {abs(theirs - first):.1e}"
        )
    for name, found in zip(("first", "next"), zip(*ratios, strict=True), strict=True):
        median = statistics.median(found)
        print(f"{name}: {median:.1f} times as fast ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    sys.exit(typer.run(main))
