"""Measures how long the report of a large search takes, and how large it is.

    python -m benchmarks.report                        # 10,000 evaluations of three methods, T = 8

The search, of the simulated objective, is made first, which takes minutes. Then `autonat report` is
timed in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = ("random", "qmc", "autonat-reference")
IMAGES = 100
COMMAND = (sys.executable, "-c", "from trials.cli.entry import main; main()")


def measure(evaluations: int, steps: int) -> None:
    """Make a search of so many evaluations, and print the time and the size of its report."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "lab"
        each = evaluations // len(METHODS) * IMAGES
        search = (
            *("search", "--objective", "simulated", "--runner", "local", "--name", "large"),
            *("--steps", str(steps), "--optimisers", ",".join(METHODS), "--budget", str(each)),
            *("--images-per-evaluation", str(IMAGES), "--test-images", str(IMAGES)),
        )
        subprocess.run([*COMMAND, *search, "--lab", lab], check=True, capture_output=True)
        started, before = time.perf_counter(), _cpu_of_children()
        report = ("report", "large", "--lab", str(lab))
        subprocess.run([*COMMAND, *report], check=True, capture_output=True)
        wall, cpu = time.perf_counter() - started, _cpu_of_children() - before
        size = (lab / "results" / "large" / "report.html").stat().st_size
        print(f"{evaluations:,} evaluations: {cpu:.1f} s of CPU, {wall:.1f} s, {size / 1e6:.2f} MB")


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    measure(asked.evaluations, asked.steps)
