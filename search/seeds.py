"""Derived seeds, so that no two purposes draw from the same random stream."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def derived_seed(purpose: str, *numbers: int) -> int:
    """Derive a seed in [0, 2**56) for one purpose.

    Args:
        purpose: what the seed is for, such as "images".
        numbers: the seed to derive from, and counts such as the number of a chunk.
    """
    text = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def means_over_shared_seeds(values: Mapping[Key, Mapping[int, float]]) -> dict[Key, float]:
    """Return the mean value of each key over the seeds that all of them have.

    Values under different seeds do not compare: one seed may be easier than another. A key with
    fewer than half as many values as another, most of whose evaluations failed, has no mean, which
    is infinite here. Without a seed that all others share, each has the mean over its own.

    Args:
        values: the values of each key by seed.
    """
    most = max(map(len, values.values()), default=0)
    counted = {key: own for key, own in values.items() if own and 2 * len(own) >= most}
    shared = set[int].intersection(*map(set, counted.values())) if counted else set()
    means = dict.fromkeys(values, math.inf)
    for key, own in counted.items():
        seeds = sorted(shared or own)
        means[key] = math.fsum(own[seed] for seed in seeds) / len(seeds)
    return means
