"""A user's own code: how it is found and imported, and where it failed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("search", "models", "trials", "dashboards", "autonat")
"""The names of autonat's own packages."""
LONGEST = 500
"""Characters of a message that are kept."""
_found: dict[str, None] = {}
"""The names that `own_code` found, in their order."""


def own_code(kind: str, name: str) -> Any:
    """What a user's own `package.module:Class` names, or a function in place of the class, from
    the current folder or wherever else Python finds it.

    Args:
        kind: what it is, for errors: "objective".
        name: of module and class.

    Raises:
        ValueError: its module does not import, or has no such class; file and line are named.
    """
    module_name, _, class_name = name.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        wanted = f"{Path(module_name).stem}:{class_name}"
        raise ValueError(f"{kind} {name}: give the module's name, not its file's: {wanted}")
    # Last in the path: a user's folder may hold a package called models, and ours must win.
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{module_name}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
            line = f"{error} in {folder}, nor among what is installed"
        else:
            line = in_one_line(error)
        raise ValueError(f"{kind} {name}: {line}{_hidden_by_ours(error)}") from None
    found = getattr(module, class_name, None)
    if not callable(found):
        hint = _hint(module_name.partition(".")[0])
        raise ValueError(f"{kind} {name}: {module_name} has no class {class_name!r}{hint}")
    _found[name] = None
    return found


def own_names() -> list[str]:
    """All of the user's own, `package.module:Class`, that this process has asked for by name:
    objectives, generators, metrics and the like."""
    return list(_found)


def in_one_line(error: BaseException) -> str:
    """`Type: message (file.py, line 3)`: an error, and where in somebody's own code it arose; of
    installed code and of ours no place is named."""
    message = (str(error).strip().splitlines() or [""])[0][:LONGEST]
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = _place(error)
    return line if place is None or f"({place})" in line else f"{line} ({place})"


@contextlib.contextmanager
def explained(what: str, made_by: type) -> Iterator[None]:
    """Within it, whatever somebody's own class raises, or `sys.exit`, is one line.

    Args:
        what: stands before it.
        made_by: the class; the errors of ours pass as they are.

    Raises:
        ValueError: the line.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if made_by.__module__.partition(".")[0] in OURS:
            raise
        raise ValueError(f"{what}: {in_one_line(error)}") from None


def import_module(name: str) -> str | None:
    """Import a module; in a worker, before anything is sent there that needs it.

    Returns:
        Why it does not import, or None.
    """
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        return in_one_line(error)
    return None


def module_location(module: str) -> Path | None:
    """The file, or the folder, of a top-level module; None if Python does not find any."""
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


def _place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(error.__traceback__)]
    own = [(file, n) for file, n in frames if _is_somebodys_own(file)]
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else None


@lru_cache(maxsize=1024)
def _is_somebodys_own(file: str) -> bool:
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


def _hidden_by_ours(error: BaseException) -> str:
    """What to do, where a module of the user's has the name of one of our packages."""
    name = None
    if isinstance(error, ImportError):
        name = error.name
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name = error.obj.__name__
    return "" if name is None else _hint(name.partition(".")[0])


def _hint(top: str) -> str:
    if top not in OURS:
        return ""
    ours = module_location(top)
    for entry in sys.path:
        for path in (Path(entry) / top, Path(entry) / f"{top}.py"):
            if path.exists() and path.resolve() != ours:
                return (
                    f"; {top} is the name of autonat's own package, which hides {path}: give that "
                    "another name, or put it into a package of yours and import it relatively"
                )
    return ""
