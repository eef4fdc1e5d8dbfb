"""Plugins: how objectives, optimisers, metrics and so on are chosen by name and added by users.

Each kind has one `Registry`. A name in it is one of these:

- built in;
- registered in code: `@METRICS.register("mine")`;
- registered by an installed package, under the entry point group `autonat.<kind>s`;
- `package.module:Class`, in the current folder or anywhere else on Python's path.

A plugin is imported only when it is requested, so a long list of names costs nothing, and a broken
package affects only those who request it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from search.names import did_you_mean
from search.user_code import OURS, in_one_line, own_code

T = TypeVar("T")
Made = TypeVar("Made")


class Registry(Generic[T]):
    """All plugins of one kind, by name.

    Example:
        >>> SHAPES: Registry[type] = Registry("shape", {"fraction": "fractions:Fraction"})
        >>> @SHAPES.register("mine")
        ... class Mine: ...
        >>> SHAPES.names()
        ['fraction', 'mine']
        >>> SHAPES.load("fraction")
        <class 'fractions.Fraction'>

    Args:
        kind: the kind in the singular; packages register theirs under `autonat.<kind>s`.
        built_in: the built-in plugins by name, each as an object or as `package.module:name`,
            which is imported when it is requested.
        setting: the name of the setting that chooses one, for errors; by default the kind.
        argument: what follows the name in this setting, such as ":PATH". Such kinds do not accept
            `package.module:Class`.
    """

    def __init__(
        self,
        kind: str,
        built_in: Mapping[str, str | T],
        *,
        setting: str | None = None,
        argument: str = "",
    ) -> None:
        self.kind, self.setting, self.argument = kind, setting or kind, argument
        self.group = "autonat." + (kind if kind.endswith("s") else f"{kind}s")
        self._built_in = dict(built_in)
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def register(self, name: str) -> Callable[[Made], Made]:
        """Return a decorator that registers an object under a name, in this process.

        A name may be registered again, as happens when a notebook's cell runs twice.

        Raises:
            ValueError: the name is that of a built-in plugin, or is not a valid name.
        """
        if not name or ":" in name or name != name.strip():
            raise ValueError(
                f"expected a name of a {self.kind} without colon and outer spaces, got {name!r}"
            )
        if name in self._built_in:
            raise ValueError(f"the {self.kind} {name!r} is built in; choose another name")

        def keep(made: Made) -> Made:
            self._registered[name] = made  # type: ignore[assignment]
            return made

        return keep

    def names(self) -> list[str]:
        """List all known names: built in, then registered in code, then those of packages."""
        return list(self.sources())

    def sources(self) -> dict[str, str]:
        """Return where each plugin is from: `module:name`, or `module:name, of the package X`."""
        found = {name: _place_of(known) for name, known in self._built_in.items()}
        found |= {name: _place_of(known) for name, known in self._registered.items()}
        points = self._entry_points()
        return found | {p.name: _source_of(p) for p in points if p.name not in found}

    def load(self, name: Any) -> T:
        """Import and return the plugin of that name.

        Raises:
            ValueError: the name is unknown (the known names are listed) or registered by two
                packages, or a user's code does not import (package, file and line are named).
        """
        if isinstance(name, str):
            if name in self._built_in:
                known = self._built_in[name]
                return (
                    EntryPoint(name, known, self.group).load() if isinstance(known, str) else known
                )
            if name in self._registered:
                return self._registered[name]
            if name in self._loaded:
                return self._loaded[name]
            if ":" in name and not self.argument:
                return own_code(self.kind, name)  # type: ignore[no-any-return]
            points = [point for point in self._entry_points() if point.name == name]
            if points:
                self._loaded[name] = self._from_package(points)
                return self._loaded[name]
        close = did_you_mean(name, self.names()) if isinstance(name, str) else ""
        raise ValueError(
            f"{self.setting} = {name!r} is unknown{close}; known: {self._known_names()}"
        )

    def load_with_argument(self, text: str) -> tuple[str, T, str]:
        """Load a plugin that is written as `name:argument`.

        Returns:
            The name, the plugin of that name, and the argument.

        Raises:
            ValueError: see `load`; or there is no argument.
        """
        name, _, argument = text.partition(":")
        if not argument:
            raise ValueError(f"{self.setting} = {text!r} is unknown; known: {self._known_names()}")
        return name, self.load(name), argument

    def _known_names(self) -> str:
        known = ", ".join(f"{name}{self.argument}" for name in self.names())
        return known if self.argument else f"{known}, or package.module:Class of your own"

    def _entry_points(self) -> list[EntryPoint]:
        return sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value))

    def _from_package(self, points: list[EntryPoint]) -> T:
        point = points[0]
        if len({p.value for p in points}) > 1:
            sources = "; ".join(map(_source_of, points))
            raise ValueError(f"{self.kind} {point.name} is registered more than once: {sources}")
        try:
            found: T = point.load()
        except (Exception, SystemExit) as error:
            if point.value.partition(".")[0] in OURS:
                raise
            raise ValueError(
                f"{self.kind} {point.name} ({_source_of(point)}): {in_one_line(error)}"
            ) from None
        return found


def _place_of(known: object) -> str:
    if isinstance(known, str):
        return known
    name = getattr(known, "__qualname__", None) or type(known).__qualname__
    return f"{getattr(known, '__module__', type(known).__module__)}:{name}"


def _source_of(point: EntryPoint) -> str:
    return point.value if point.dist is None else f"{point.value}, of the package {point.dist.name}"
