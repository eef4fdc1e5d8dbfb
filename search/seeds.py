"""Seeds that are derived from others, so that nothing draws from another's stream."""

from __future__ import annotations

import hashlib


def derived_seed(purpose: str, *numbers: int) -> int:
    """A seed in [0, 2**56) for one purpose.

    Args:
        purpose: what the seed is for, such as "images".
        numbers: a seed that was handed in, and a count, such as the number of a chunk.
    """
    text = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
