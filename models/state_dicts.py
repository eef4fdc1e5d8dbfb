"""Whether a checkpoint's tensors are those of a network: their names, then their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare names and shapes.

    Raises:
        ValueError: missing, unexpected or misshapen tensors; the first few are named.
    """
    check_names(
        [name for name in expected if name not in found],
        [name for name in found if name not in expected],
    )
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(f"{name} has the shape {found[name]}, not {shape}")


def check_names(missing: Sequence[str], unexpected: Sequence[str]) -> None:
    """Refuse a checkpoint of other names.

    Raises:
        ValueError: there are some; the first few are named.
    """
    for what, names in (("lacks", missing), ("has the unexpected", unexpected)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"the checkpoint {what} {', '.join(names[:3])}{more}")
