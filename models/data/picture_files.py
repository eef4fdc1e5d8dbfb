"""Lists the files below a folder of pictures, each only once, even if several links lead to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

HIDDEN = "."


def files_below(root: Path) -> list[tuple[str, str | None]]:
    """List the names below the root of all files that are not hidden, folder by folder.

    Links are followed. A file that is reached several times is used once, under its own name if
    that is below the root.

    Returns:
        Pairs of a name and the reason why the file is skipped, or None.

    Raises:
        ValueError: a folder cannot be read.
    """
    found = _Listing(root).found
    return [(name, found[name]) for name in sorted(found, key=_folder_by_folder)]


def printable(name: str) -> str:
    r"""Make a name printable: bytes that are not UTF-8, and control characters, become \xNN."""
    return re.sub("[\0-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: _escaped(found[0]), name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's form of a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class _Listing:
    """The files below a root: first those with their own names, then those found by links."""

    def __init__(self, root: Path) -> None:
        self.found: dict[str, str | None] = {}
        self._root = root
        self._folders: dict[str, str] = {}  # name of each folder by its real path
        self._linked: dict[str, str] = {}  # name of each linked file by its real path
        links = self._walk("", os.path.realpath(root))
        while links:
            more: list[str] = []
            for name in sorted(links, key=_folder_by_folder):
                more += self._follow(name)
            links = more

    def _walk(self, inside: str, real: str) -> list[str]:
        """List a folder and everything below it, and return the links found there."""
        links: list[str] = []
        waiting = [(inside, real)]
        while waiting:
            inside, real = waiting.pop()
            self._folders[real] = inside
            for entry in _entries(self._root / inside):
                name, target = os.path.join(inside, entry.name), os.path.join(real, entry.name)
                if entry.is_symlink():
                    links.append(name)
                elif target in self._folders or target in self._linked:
                    self._skip(name, target)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((name, target))
                else:
                    self.found[name] = None
        return links

    def _follow(self, name: str) -> list[str]:
        target = os.path.realpath(self._root / name)
        if self._listed_name(target) is not None:
            self._skip(name, target)
        elif os.path.isdir(target):
            return self._walk(name, target)
        else:
            self.found[name] = None
            self._linked[target] = name
        return []

    def _listed_name(self, target: str) -> str | None:
        """Return the name under which a real path is listed already, or None."""
        folder, base = os.path.split(target)
        if target in self._folders:
            return self._folders[target] or os.curdir
        if folder in self._folders and not base.startswith(HIDDEN) and os.path.isfile(target):
            return os.path.join(self._folders[folder], base)
        return self._linked.get(target)

    def _skip(self, name: str, target: str) -> None:
        self.found[name] = f"the same as {self._listed_name(target)}, which is listed already"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(HIDDEN)]
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None


def _folder_by_folder(name: str) -> list[tuple[bool, str]]:
    """Sort key that puts the files of a folder before those of its sub-folders."""
    *folders, file = name.split(os.sep)
    return [*((True, folder) for folder in folders), (False, file)]
