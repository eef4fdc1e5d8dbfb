"""A simulated objective that logs the start and end of evaluations, to count faults."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import ray

from search.measurement import Measurement
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective


class Counted(SimulatedObjective):
    """Measures like the simulated objective.

    While a file with the name of the log and the ending ".gate" exists, started evaluations wait.

    Args:
        marks: the file to which every evaluation adds a line when it starts and when it ends.
        latency: how many seconds an evaluation sleeps.
        hang: the number of evaluations whose first try hangs.
        gigabytes: the memory that the first try of some evaluations takes until it is killed.
        greedy: the number of these evaluations.
    """

    def __init__(
        self,
        *,
        marks: str,
        latency: float = 0.0,
        hang: int = 0,
        gigabytes: float = 0.0,
        greedy: int = 0,
    ) -> None:
        super().__init__(latency=latency)
        self._marks, self._hang = Path(marks), hang
        self._gigabytes, self._greedy = gigabytes, greedy

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        """See `Objective.evaluate`."""
        asked = json.dumps([strategy.to_json(), images, seed], sort_keys=True)
        key = hashlib.sha256(asked.encode()).hexdigest()[:16]
        self._mark("begin", key)
        while Path(f"{self._marks}.gate").exists():
            time.sleep(0.1)
        if self._first("hang", key, self._hang):
            time.sleep(3600)
        if self._first("greedy", key, self._greedy):
            _take(self._gigabytes)
        result = super().evaluate(strategy, images, seed)
        self._mark("end", key)
        return result

    def _first(self, what: str, key: str, most: int) -> bool:
        """Whether this is one of the first `most` evaluations, and its first try."""
        if most == 0:
            return False
        done = [line.split() for line in self._marks.read_text().splitlines()]
        had = {name for _, kind, name, _ in done if kind == what}
        if key in had or len(had) >= most:
            return False
        self._mark(what, key)
        return True

    def _mark(self, kind: str, key: str) -> None:
        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with self._marks.open("a") as file:  # one write: lines of several processes stay whole
            file.write(f"{time.time():.3f} {kind} {key} {node}\n")


def _take(gigabytes: float) -> None:
    """Fill memory until something ends this process."""
    held = []
    while len(held) < 16 * gigabytes:
        held.append(np.ones(2**26, np.uint8))
        time.sleep(0.02)
    time.sleep(3600)
