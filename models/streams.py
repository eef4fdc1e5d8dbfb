"""Work on a GPU that begins before it is needed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.precision import device


def ahead(rounds: Iterator[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    """Yield the same tensors; a GPU computes those of the next round while these are used.

    They are computed on a stream of their own, a round ahead, and each is handed over by an event,
    so that this process never waits. On the CPU each round is computed when it is asked for.

    Args:
        rounds: computes tensors on this process's device whenever it is asked for the next ones.
    """
    if device() == "cpu":
        yield from rounds
        return
    user, maker = torch.cuda.current_stream(), _maker()
    maker.wait_stream(user)  # networks and data may just have been moved there
    following = _made_on(maker, rounds)
    while following is not None:
        tensors, made = following
        following = _made_on(maker, rounds)
        user.wait_event(made)
        for tensor in tensors:
            tensor.record_stream(user)  # else its memory would be used again too early
        yield tensors


@functools.cache
def _maker() -> torch.cuda.Stream:
    """The one stream of this process: torch keeps the free memory of each stream for itself."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def _made_on(
    stream: torch.cuda.Stream, rounds: Iterator[Sequence[Tensor]]
) -> tuple[Sequence[Tensor], torch.cuda.Event] | None:
    """The next round, and the event at whose end it is computed; None after the last one."""
    with torch.cuda.stream(stream):
        tensors = next(rounds, None)
        return None if tensors is None else (tensors, stream.record_event())
