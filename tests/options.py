"""Options of a command for tests."""

from __future__ import annotations

from collections.abc import Sequence

SMALL = [
    "--objective",
    "simulated",
    "--runner",
    "local",
    "--steps",
    "2",
    "--optimiser",
    "random",
    "--optimiser",
    "tpe",
    "--budget",
    "800",
    "--images",
    "100",
    "--test-images",
    "200",
    "--control",
    "rule of thumb",
    "--name",
    "small",
]
"""A search that takes a second."""


def laid_over(options: Sequence[str], *others: str) -> list[str]:
    """Pairs of options and values, without those that `others` give, for most may be given once;
    then the others. --set, which may be repeated, stays."""
    pairs = zip(options[::2], options[1::2], strict=True)
    kept = [pair for pair in pairs if pair[0] == "--set" or pair[0] not in others]
    return [*(word for pair in kept for word in pair), *others]
