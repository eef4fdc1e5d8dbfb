"""Generators by name: built in, registered by packages, and users' own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from models.checkpoint_kinds import kind_of_file
from models.generators.generator import MaskedGenerator
from search.keywords import require_keywords
from search.names import did_you_mean
from search.plugins import Registry
from search.user_code import own_code

GENERATORS: Registry[Callable[..., MaskedGenerator]] = Registry(
    "generator",
    {
        "nat": "models.generators.nat_generator:load_nat_generator",
        "amused": "models.generators.amused:load_amused",
        "titok": "models.generators.titok_generator:load_titok_generator",
        "halton": "models.generators.halton_generator:load_halton_generator",
        "muse": "models.generators.muse:load_muse_generator",
    },
    argument=":PATH",
)
"""The functions that make each kind of generator from a path and settings by keyword."""


ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".json")
"""The endings of files that hold weights, or the index of several."""


def load_generator(name: str, **settings: Any) -> MaskedGenerator:
    """Load a generator by name.

        load_generator("nat:weights.pth", tokenizer="vqgan:vqgan.ckpt")
        load_generator("weights.pth", tokenizer="vqgan:vqgan.ckpt")  # of a kind that is recognised
        load_generator("my_package.my_module:make", size="small")

    Args:
        name: KIND:PATH, where the kind is built in or registered (see search.plugins); the PATH
            alone of a file or folder whose kind is recognised; or a user's `package.module:make`,
            where `make` is a class or a function.
        settings: the keyword arguments of the kind, besides the path, or of `make`.

    Returns:
        The generator in evaluation mode, on the CPU.

    Raises:
        ValueError: the kind is unknown (the known kinds are listed) or not recognised, the file is
            not of this kind, the module does not import, or a setting is unknown or missing.
    """
    kind, rest = named_kind(name)
    if kind is None and Path(name).exists():
        kind, rest = recognised(name), name
    if kind is None:
        kind, _, rest = name.partition(":")
    given: tuple[str, ...] = (rest,)
    if kind in GENERATORS.names() and rest:
        make = GENERATORS.load(kind)
    elif rest.isidentifier() and _is_module(kind):
        make, given = own_code("generator", name), ()
    elif not rest and _is_path(name):
        raise ValueError(f"generator = {name!r}: No such file or directory")
    else:
        known = ", ".join(f"{known}:PATH" for known in GENERATORS.names())
        close = did_you_mean(kind, GENERATORS.names()) if rest else ""
        raise ValueError(
            f"generator = {name!r} is unknown{close}; known: {known}, or package.module:make of "
            "your own"
        )
    require_keywords(f"generator {name}", make, settings, *given)
    return make(*given, **settings)


def named_kind(name: str) -> tuple[str | None, str]:
    """Split KIND:PATH into a known kind and the path; the kind of any other text is None."""
    kind, _, path = name.partition(":")
    return (kind, path) if path and kind in GENERATORS.names() else (None, name)


def recognised(path: str | Path) -> str:
    """Return the kind of the generator in a file or folder.

    Raises:
        ValueError: it is not a generator of a kind that is recognised; the line says what it is,
            or lists the kinds to name.
    """
    found = kind_of_file(path)
    if found is None:
        known = ", ".join(f"{known}:{path}" for known in GENERATORS.names())
        raise ValueError(f"{path}: its kind is not recognised; name it: {known}")
    if found.role != "generator":
        raise ValueError(f"{path}: expected a generator, got {found.about}, a {found.role}")
    return found.name


def with_kind(weights: str) -> str:
    """Return KIND:PATH for a file that is recognised, and the PATH alone for that of a NAT, whose
    sizes may be given.

    Raises:
        ValueError: there is no such file and no such kind, or the file is not recognised.
    """
    if named_kind(weights)[0] is not None:
        return weights
    if not Path(weights).exists():
        kinds, (kind, colon, _) = ", ".join(GENERATORS.names()), weights.partition(":")
        close = did_you_mean(kind, GENERATORS.names()) if colon else ""
        raise ValueError(
            f"weights: expected a file, or KIND:PATH with one of the kinds {kinds}; got {weights}"
            f"{close}, and there is no such file"
        )
    kind = recognised(weights)
    return weights if kind == "nat" else f"{kind}:{weights}"


def _is_path(name: str) -> bool:
    """Whether a name can only be that of a file or folder, and not `package.module`."""
    return "/" in name or Path(name).suffix in ENDINGS


def _is_module(name: str) -> bool:
    """Whether Python finds the top-level package of a module, also in the current folder."""
    top = name.partition(".")[0]
    return (
        top.isidentifier() and PathFinder.find_spec(top, [*sys.path, str(Path.cwd())]) is not None
    )
