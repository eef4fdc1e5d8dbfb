"""Finds the user's own code that the workers need, and checks that it can be sent to them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from search.user_code import OURS, in_one_line, is_installed, module_location


def user_modules(name: str) -> list[Path]:
    """The files and folders to send to the workers for an objective `package.module:Class`.

    They are the module or package of the objective, which is imported already, and those modules in
    the same folder that it imports anywhere in its code, directly or indirectly.
    The code of a script or a notebook itself is sent within the pickle of the objective.

    Raises:
        ValueError: one of them is a file without Python source, outside a package.
    """
    if ":" not in name:
        return []
    waiting = [name.partition(":")[0].partition(".")[0]]
    if waiting == ["__main__"]:
        script = getattr(sys.modules["__main__"], "__file__", None)
        folder = Path.cwd() if script is None else Path(script).resolve().parent
        waiting = [module for module in sys.modules if "." not in module]
    else:
        first = module_location(waiting[0])
        if first is None or is_installed(first):
            return [] if first is None else [first]
        folder = first.parent
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        location = module_location(module)
        if module in {*found, *OURS} or location is None or location.parent != folder:
            continue
        if location.is_file() and location.suffix != ".py":
            raise ValueError(
                f"objective {name}: {location} cannot be sent to a worker, since it is not Python "
                "source; put it into a package"
            )
        found[module] = location
        for file in [location] if location.is_file() else sorted(location.rglob("*.py")):
            waiting += _imported_by(file)
    return list(found.values())


def check_travels(what: str, value: object) -> None:
    """Check that something can be sent to the workers, as Ray sends it.

    Args:
        what: the name of the value, for the error line.
        value: what is to be sent.

    Raises:
        ValueError: it cannot be pickled; the attribute that prevents it is named.
    """
    from ray import cloudpickle

    pickler: Any = cloudpickle.Pickler

    class Nowhere:
        """A file that discards what is written."""

        def write(self, data: object) -> int:
            return memoryview(data).nbytes  # type: ignore[arg-type]

    def error_of(part: object) -> Exception | None:
        try:
            # Arrays are not copied.
            pickler(Nowhere(), protocol=5, buffer_callback=lambda _: None).dump(part)
        except Exception as error:
            return error
        return None

    error = error_of(value)
    if error is None:
        return
    attribute = "it"
    # An attribute that refers back fails too, but is not the cause: each object is visited once.
    waiting, seen = [(value, "")], {id(value)}
    while waiting:
        inner, path = waiting.pop()
        parts = getattr(inner, "__dict__", {}).items()
        failing = [(part, f"{path}{name}") for name, part in parts if error_of(part) is not None]
        if path and not failing:
            attribute = f"its attribute {path.removesuffix('.')}"
            break
        new = [(part, f"{name}.") for part, name in failing if id(part) not in seen]
        seen |= {id(part) for part, _ in new}
        waiting += reversed(new)
    raise ValueError(
        f"{what}: {attribute} cannot be sent to the workers: {in_one_line(error)}; create it when "
        "it is first needed, or leave it out in __getstate__"
    )


def _imported_by(file: Path) -> list[str]:
    """The top-level modules that a source file imports; relative imports stay in its package."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []  # not imported, or refused before
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.append(node.module)
    return [name.partition(".")[0] for name in found]
