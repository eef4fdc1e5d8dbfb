"""Derived seeds, so that no two purposes draw from the same random stream."""

from __future__ import annotations

import hashlib


def derived_seed(purpose: str, *numbers: int) -> int:
    """Derive a seed in [0, 2**56) for one purpose.

    Args:
        purpose: what the seed is for, such as "images".
        numbers: the seed to derive from, and counts such as the number of a chunk.
    """
    text = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
