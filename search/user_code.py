"""Users' own code: how it is found and imported, and how its errors are reported."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("search", "models", "trials", "dashboards", "autonat")
"""The names of autonat's own packages."""
LONGEST = 500
"""The most characters of an error message that are shown."""
_used_names: dict[str, None] = {}
"""The names that `note_own_code` was told, in their order."""


def own_code(kind: str, name: str) -> Any:
    """Import a user's `package.module:Class`, or a function in place of the class.

    The module is searched for on Python's path and in the current folder.

    Args:
        kind: what it is, for errors, such as "objective".
        name: the names of module and class, separated by a colon.

    Raises:
        ValueError: the module does not import (file and line are named), or has no such class.
    """
    module_name, _, class_name = name.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        wanted = f"{Path(module_name).stem}:{class_name}"
        raise ValueError(f"{kind} {name}: expected a module, not a file, such as {wanted}")
    # Last on the path: the user's folder may hold a package called models, and ours must win.
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{module_name}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
            line = f"{error} in {folder} or among the installed packages"
        else:
            line = in_one_line(error)
        raise ValueError(f"{kind} {name}: {line}{_shadowing_hint_for(error)}") from None
    found = getattr(module, class_name, None)
    if not callable(found):
        hint = _shadowing_hint(module_name.partition(".")[0])
        raise ValueError(f"{kind} {name}: {module_name} has no class {class_name!r}{hint}")
    note_own_code(name)
    return found


def note_own_code(name: str) -> None:
    """Remember that this process uses a user's `package.module:Class`, so that its file is sent to
    the workers. `own_code` does so for everything that it finds."""
    _used_names[name] = None


def own_names() -> list[str]:
    """Return the names, `package.module:Class`, of all users' code that this process uses."""
    return list(_used_names)


def in_one_line(error: BaseException) -> str:
    """Format an error as `Type: message (file.py, line 3)`.

    The place is the last one in the user's own code; without one, no place is named.
    """
    message = (str(error).strip().splitlines() or [""])[0][:LONGEST]
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = _place_in_own_code(error)
    return line if place is None or f"({place})" in line else f"{line} ({place})"


@contextlib.contextmanager
def explained(what: str, made_by: Callable[..., object]) -> Iterator[None]:
    """Turn any error (or `sys.exit`) of a user's class within the block into a one-line error.

    Args:
        what: the words before the error.
        made_by: the class or function; errors of our own are passed on unchanged.

    Raises:
        ValueError: the block raised an error.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if is_ours(made_by):
            raise
        raise ValueError(f"{what}: {in_one_line(error)}") from None


def is_ours(made_by: Callable[..., object]) -> bool:
    """Whether a class or function, or what a partial one calls, belongs to autonat itself."""
    called = made_by.func if isinstance(made_by, functools.partial) else made_by
    return str(getattr(called, "__module__", "")).partition(".")[0] in OURS


def import_module(name: str) -> str | None:
    """Import a module in a worker, before anything is sent to the worker that needs it.

    Returns:
        None if it was imported, else the reason why not.
    """
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        return in_one_line(error)
    return None


def module_location(module: str) -> Path | None:
    """Return the file or folder of a top-level module; None if Python does not find it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if folders:
        return Path(folders[0]).resolve()
    return Path(spec.origin).resolve() if spec.has_location and spec.origin else None


def _place_in_own_code(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(error.__traceback__)]
    own = [(file, n) for file, n in frames if _is_users_own(file)]
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else None


@lru_cache(maxsize=1024)
def _is_users_own(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or is_installed(path):
        return False
    ours = [location for location in map(module_location, OURS) if location is not None]
    return not any(path.resolve().is_relative_to(folder) for folder in ours)


def is_installed(path: Path) -> bool:
    """Whether a file came with Python or with an installed package."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return path.is_relative_to(sysconfig.get_path("stdlib"))


def _shadowing_hint_for(error: BaseException) -> str:
    """Say what to do if the error arose because our package hides a user's module."""
    name = None
    if isinstance(error, ImportError):
        name = error.name
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name = error.obj.__name__
    return "" if name is None else _shadowing_hint(name.partition(".")[0])


def _shadowing_hint(top: str) -> str:
    if top not in OURS:
        return ""
    ours = module_location(top)
    for entry in sys.path:
        for path in (Path(entry) / top, Path(entry) / f"{top}.py"):
            if path.exists() and path.resolve() != ours:
                return (
                    f"; autonat has a package named {top}, which hides {path}: give yours another "
                    "name, or put it into a package and import it relatively"
                )
    return ""
