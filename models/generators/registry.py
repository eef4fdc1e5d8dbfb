"""Generators by name: built in, registered by packages, and users' own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from models.generators.generator import MaskedGenerator
from search.plugins import Registry
from search.user_code import own_code

GENERATORS: Registry[Callable[..., MaskedGenerator]] = Registry(
    "generator",
    {
        "nat": "models.generators.nat_generator:load_nat_generator",
        "amused": "models.generators.amused:load_amused",
        "titok": "models.generators.titok_generator:load_titok_generator",
    },
    argument=":PATH",
)
"""The functions that make each kind of generator from a path and settings by keyword."""


def load_generator(name: str, **settings: Any) -> MaskedGenerator:
    """Load a generator by name.

        load_generator("nat:weights.pth", tokenizer="vqgan:vqgan.ckpt")
        load_generator("my_package.my_module:make", size="small")

    Args:
        name: KIND:PATH, where the kind is built in or registered (see search.plugins), or a user's
            `package.module:make`, where `make` is a class or a function.
        settings: the keyword arguments of the kind, besides the path, or of `make`.

    Returns:
        The generator in evaluation mode, on the CPU.

    Raises:
        ValueError: the kind is unknown (the known kinds are listed), the file is not of this kind,
            the module does not import, or a setting is unknown.
    """
    kind, _, rest = name.partition(":")
    given: tuple[str, ...] = (rest,)
    if kind in GENERATORS.names() and rest:
        make = GENERATORS.load(kind)
    elif rest.isidentifier() and _is_module(kind):
        make, given = own_code("generator", name), ()
    else:
        known = ", ".join(f"{known}:PATH" for known in GENERATORS.names())
        raise ValueError(
            f"generator = {name!r} is unknown; known: {known}, or package.module:make of your own"
        )
    try:
        inspect.signature(make).bind(*given, **settings)
    except TypeError as error:
        raise ValueError(f"generator {name}: {error}") from None
    return make(*given, **settings)


def _is_module(name: str) -> bool:
    """Whether Python finds the top-level package of a module, also in the current folder."""
    top = name.partition(".")[0]
    return (
        top.isidentifier() and PathFinder.find_spec(top, [*sys.path, str(Path.cwd())]) is not None
    )
