"""What can be chosen by name, and how somebody's own joins it: the one mechanism for every kind.

A kind (objectives, optimisers, metrics, ...) has one `Registry`. What is asked of it by name is

- built in,
- registered in code: `@METRICS.register("mine")`,
- registered by an installed package, under the entry point group `autonat.<kind>s`, or
- `package.module:Class`, from the current folder or wherever else Python finds it.

Only what is asked for is imported, so a long list of names costs nothing, and a package that is
broken costs only those who ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from search.user_code import OURS, in_one_line, own_code

T = TypeVar("T")
Made = TypeVar("Made")


class Registry(Generic[T]):
    """All of one kind, by name.

    Example:
        >>> SHAPES: Registry[type] = Registry("shape", {"fraction": "fractions:Fraction"})
        >>> @SHAPES.register("mine")
        ... class Mine: ...
        >>> SHAPES.names()
        ['fraction', 'mine']
        >>> SHAPES.load("fraction")
        <class 'fractions.Fraction'>

    Args:
        kind: one of them, in the singular; packages register theirs under `autonat.<kind>s`.
        built_in: ours by name, each as it is or as `package.module:name`, which is imported when
            it is asked for.
        setting: what a person calls the choice, for errors; by default the kind.
        argument: what follows a name where people write it, ":PATH" for instance. Such kinds have
            no `package.module:Class`.
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
        """A decorator that gives what follows a name, in this process.

        A name that was registered in code before may be given again, as a notebook's cell does
        that runs twice.

        Raises:
            ValueError: the name is of one that is built in, or is none.
        """
        if not name or ":" in name or name != name.strip():
            raise ValueError(f"a name of a {self.kind} has no colon and is not empty: {name!r}")
        if name in self._built_in:
            raise ValueError(f"the {self.kind} {name!r} is built in; choose another name")

        def keep(made: Made) -> Made:
            self._registered[name] = made  # type: ignore[assignment]
            return made

        return keep

    def names(self) -> list[str]:
        """All that are known: built in, in their order, then registered, then packages'."""
        return list(self.sources())

    def sources(self) -> dict[str, str]:
        """Where each comes from, by name: `module:name`, or `module:name, of the package X`."""
        found = {name: _place(known) for name, known in self._built_in.items()}
        found |= {name: _place(known) for name, known in self._registered.items()}
        points = self._points()
        return found | {p.name: _told(p) for p in points if p.name not in found}

    def load(self, name: Any) -> T:
        """The one of that name, imported.

        Raises:
            ValueError: an unknown name (the known ones are listed), one that two packages give,
                or code of somebody else's that does not import; package, file and line are named.
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
            points = [point for point in self._points() if point.name == name]
            if points:
                self._loaded[name] = self._from_package(points)
                return self._loaded[name]
        raise ValueError(f"{self.setting} = {name!r} is unknown; known: {self._listed()}")

    def load_with_argument(self, text: str) -> tuple[str, T, str]:
        """What `name:argument` names.

        Returns:
            The name, what it names, and the argument.

        Raises:
            ValueError: as `load`; or there is no argument.
        """
        name, _, argument = text.partition(":")
        if not argument:
            raise ValueError(f"{self.setting} = {text!r} is unknown; known: {self._listed()}")
        return name, self.load(name), argument

    def _listed(self) -> str:
        known = ", ".join(f"{name}{self.argument}" for name in self.names())
        return known if self.argument else f"{known}, or package.module:Class of your own"

    def _points(self) -> list[EntryPoint]:
        return sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value))

    def _from_package(self, points: list[EntryPoint]) -> T:
        point = points[0]
        if len({p.value for p in points}) > 1:
            told = "; ".join(map(_told, points))
            raise ValueError(f"{self.kind} {point.name} is registered more than once: {told}")
        try:
            found: T = point.load()
        except (Exception, SystemExit) as error:
            if point.value.partition(".")[0] in OURS:
                raise
            raise ValueError(
                f"{self.kind} {point.name} ({_told(point)}): {in_one_line(error)}"
            ) from None
        return found


def _place(known: object) -> str:
    if isinstance(known, str):
        return known
    name = getattr(known, "__qualname__", None) or type(known).__qualname__
    return f"{getattr(known, '__module__', type(known).__module__)}:{name}"


def _told(point: EntryPoint) -> str:
    return point.value if point.dist is None else f"{point.value}, of the package {point.dist.name}"
