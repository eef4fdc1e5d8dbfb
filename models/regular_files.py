"""Recognises pipes, devices and broken links before they are opened like files."""

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
    """Return why a path, after following links, is not a regular file; None if it is one.

    Opening a pipe would wait for a writer, possibly for ever.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        broken = os.path.islink(path)
        return "a broken link" if broken else error.strerror or str(error)
    except ValueError:  # a NUL, or characters that the file system's encoding lacks
        return "not a name that a file can have"
    return KINDS.get(kind)
