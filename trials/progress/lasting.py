"""Streams that outlast whoever reads them, so that nothing ends for want of a reader.

A terminal vanishes when its window is closed or its connection breaks, and Ctrl-C ends the `tee`
behind a pipe before it ends the command.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = (errno.EIO, errno.EPIPE)
"""What writing fails with when a terminal, or the reader of a pipe, is gone."""


class _Lasting(io.FileIO):
    """A file descriptor whose text is dropped once nobody can read it."""

    def write(self, data: ReadableBuffer, /) -> int:
        """See `io.RawIOBase.write`."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return memoryview(data).nbytes


def lasting(stream: TextIO, descriptor: int, closes: bool) -> TextIO:
    """A stream that drops what nobody can read any more.

    Args:
        stream: its encoding and its way with letters that this lacks are taken over.
        descriptor: the file descriptor to which the new stream writes.
        closes: whether the new stream closes it in the end.
    """
    raw = _Lasting(descriptor, "w", closefd=closes)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True
    )


def outlast_readers() -> None:
    """Make stdout and stderr of this process lasting, where they are its own."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            setattr(sys, name, lasting(stream, stream.fileno(), closes=False))
