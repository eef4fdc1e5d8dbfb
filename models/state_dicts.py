"""Checks whether a checkpoint's tensors fit a network, by their names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare names and shapes.

    Raises:
        ValueError: tensors are missing, unexpected or of another shape; the first few are named.
    """
    check_names(
        [name for name in expected if name not in found],
        [name for name in found if name not in expected],
    )
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(f"{name}: expected the shape {shape}, got {found[name]}")


def check_names(missing: Sequence[str], unexpected: Sequence[str]) -> None:
    """Refuse a checkpoint with missing or unexpected tensors.

    Raises:
        ValueError: there are such tensors; the first few are named.
    """
    for what, names in (("lacks", missing), ("has the unexpected", unexpected)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"the checkpoint {what} {', '.join(names[:3])}{more}")
