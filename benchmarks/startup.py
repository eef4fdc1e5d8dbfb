"""Measures the start of commands in CPU and wall seconds, as the median of several runs.

`python -c pass`, which no command can be faster than, is measured in the same rounds.

    python benchmarks/startup.py [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (
    "--help",
    "search --help",
    "show best.json",
    "import public.yaml made.json",
    "export small made.yaml",
    "list",
    "compare small",
    "objectives",
    "search --resume small --runner local",
)
SMALL = """
    search --objective simulated --runner local --name small --steps 4 --optimisers random
    --budget 2000 --images-per-evaluation 100 --workers 1 --test-images 200 --test-seeds 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="instead of the table")
    given = parser.parse_args()
    autonat = [sys.executable, "-c", "from trials.cli.entry import main; main()"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_of([*autonat, *SMALL.split()], folder)
        seconds_of([*autonat, "export", "small", "public.yaml"], folder)
        seconds_of([*autonat, "export", "small", "best.json"], folder)
        words = {"python -c pass": [sys.executable, "-c", "pass"]}
        words |= {f"autonat {command}": [*autonat, *shlex.split(command)] for command in COMMANDS}
        rounds: dict[str, list[tuple[float, float]]] = {label: [] for label in words}
        for _ in range(given.rounds):
            for label, command in words.items():
                rounds[label].append(seconds_of(command, folder))
    medians = {
        label: dict(
            zip(("cpu", "wall"), map(statistics.median, zip(*found, strict=True)), strict=True)
        )
        for label, found in rounds.items()
    }
    if given.json:
        print(json.dumps({"rounds": given.rounds, "seconds": medians}))
        return
    print(f"{'median of ' + str(given.rounds):44} {'CPU s':>6} {'wall s':>7}")
    for label, median in medians.items():
        print(f"{label:44} {median['cpu']:6.2f} {median['wall']:7.2f}")


def seconds_of(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return the CPU seconds, with those of its children, and the wall seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: exit code {ran.returncode}\n{ran.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


if __name__ == "__main__":
    main()
