"""What a path is: a pipe, a device or a link that leads nowhere is said before it is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "Is a directory",
    stat.S_IFIFO: "a named pipe (FIFO), not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}


def not_a_file(path: str | Path) -> str | None:
    """Why a path is no regular file, behind all links; None if it is one.

    To open a pipe would wait for ever for someone who writes.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        broken = os.path.islink(path)
        return "a broken link" if broken else error.strerror or str(error)
    except ValueError:  # a NUL, or what the file system's encoding does not hold
        return "not a name that a file can have"
    return KINDS.get(kind)
