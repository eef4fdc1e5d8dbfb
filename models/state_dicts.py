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


def shape_of(
    shapes: Mapping[str, tuple[int, ...]], name: str, rank: int, what: str
) -> tuple[int, ...]:
    """Return the shape of a tensor from which sizes of a network are read.

    Args:
        shapes: the shapes of a checkpoint's tensors, by name.
        name: the name of the tensor.
        rank: the length of its shape.
        what: what the checkpoint should hold, such as "a VQGAN".

    Raises:
        ValueError: the tensor is missing or has another rank.
    """
    found = shapes.get(name)
    if found is None:
        raise ValueError(f"not {what}: it lacks {name}")
    if len(found) != rank:
        raise ValueError(f"{name}: expected a shape of rank {rank}, got {found}")
    return found
