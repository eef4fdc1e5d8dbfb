"""Puts a checkpoint's tensors into a network, after a look at their names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


class _NotDrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights."""

    def __torch_function__(
        self, called: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if getattr(called, "__module__", None) == nn.init.__name__:
            return given["tensor"]
        return called(*args, **given)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Within the block, make networks and tensors with shapes but no numbers (the meta device).

    Their first weights are not drawn: on this device torch would import its compiler for it, which
    takes a second and 70 MB of every process.
    """
    with torch.device("meta"), _NotDrawn():
        yield


def with_weights(make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """Make a network that has these tensors for weights, in float32 and evaluation mode.

    The tensors are not copied, so that memory holds them once.

    Args:
        make: makes the network, without memory for weights of its own.
        state: the tensors of a checkpoint, by the network's names.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen; the first few are named.
    """
    network = empty_network(make, shapes_of(state))
    network.load_state_dict(dict(state), assign=True)
    return network.float().eval()


def empty_network(make: Callable[[], Network], shapes: Mapping[str, tuple[int, ...]]) -> Network:
    """Make a network without numbers, after a look whether tensors of these shapes are its own.

    Args:
        make: makes the network.
        shapes: of the tensors of a checkpoint, by the network's names.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen; the first few are named.
    """
    with without_numbers():
        network = make()
    check_shapes(shapes, shapes_of(network.state_dict()))
    return network


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


def heads_of_width(known: Mapping[int, int], width: int) -> int:
    """Return the number of attention heads, which no shape shows, of a published network.

    Args:
        known: the numbers, by the width of the network.
        width: of the network.

    Raises:
        ValueError: the width is not one of them.
    """
    if width not in known:
        told = ", ".join(f"{heads} at width {width}" for width, heads in known.items())
        raise ValueError(
            f"num_heads: expected a number for a network of width {width}; known: {told}"
        )
    return known[width]


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
