"""Data as people write them: YAML 1.2 and JSON, read so that every value is what was said.

Of YAML the core schema (yaml.org/spec/1.2.2, chapter 10.3): `1e-4` is a number, while `no`, `2:3`
and dates are texts; YAML 1.1 takes the first for a text and the others for values. In both
languages a key that is there twice, a whole number beyond 64 bits and what is nested too deeply
are refused, and a byte order mark is passed over.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from search.bound import LARGEST_VALUE

LARGEST_INTEGER = 2**63 - 1
TOO_DEEP = "it is nested too deeply"

_CUT = reprlib.Repr()
_CUT.maxstring = _CUT.maxother = 100
_CUT.maxlong = 60


def shown(value: Any) -> str:
    """A value in an error line: its repr, cut where it is long."""
    return _CUT.repr(value)


def require_fields(
    where: str, data: Any, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """`data` as a dict with these fields, and perhaps the optional ones.

    Raises:
        ValueError: not an object, a missing field, or one that is unknown; `where` is named.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object, not {shown(data)}")
    for name in names:
        if name not in data:
            raise ValueError(f"{where} lacks the field {shown(name)}")
    for name in data:
        if name not in names and name not in optional:
            raise ValueError(f"{where} has the unknown field {shown(name)}")
    return dict(data)


def read_number(name: str, value: Any, fault: str = "negative") -> float:
    """A number in [0, LARGEST_VALUE] as a float; booleans and strings are no numbers.

    Args:
        name: of the value, for error lines.
        value: what was given.
        fault: how an error line calls a number below 0.

    Raises:
        ValueError: it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} = {shown(value)} is not a number")
    if value != value or value in (math.inf, -math.inf):
        raise ValueError(f"{name} = {shown(value)} is not finite")
    if value < 0:
        raise ValueError(f"{name} = {shown(value)} is {fault}")
    if value > LARGEST_VALUE:
        raise ValueError(f"{name} = {shown(value)} is above {LARGEST_VALUE:g}, the largest allowed")
    return float(value)


def read_yaml(path: Path) -> Any:
    """A YAML file's content; see `parse_yaml`.

    Raises:
        ValueError: it cannot be read, or is refused; the file is named.
    """
    return _read(path, parse_yaml)


def read_json(path: Path) -> Any:
    """A JSON file's content; see `parse_json`.

    Raises:
        ValueError: it cannot be read, or is refused; the file is named.
    """
    return _read(path, parse_json)


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for; its types are JSON's, but numbers may be infinite or
    NaN.

    Raises:
        ValueError: not YAML, or refused as the top of this module says; the line is named.
    """
    try:
        return yaml.load(text, Loader=_CoreLoader)
    except yaml.constructor.ConstructorError as error:
        raise ValueError(f"{_line(error)}{error.problem}") from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"not YAML ({_line(error)}{error.problem})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def parse_json(text: str) -> Any:
    """The value that a JSON text stands for. NaN and Infinity, which are no JSON but often
    written, are read, so that whoever asks for the value refuses it by its name.

    Raises:
        ValueError: not JSON, or refused as the top of this module says.
    """
    try:
        return json.loads(text, parse_int=_whole, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _line(error: yaml.MarkedYAMLError) -> str:
    return "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema. PyYAML's own resolvers and constructors are YAML 1.1's."""

    yaml_implicit_resolvers = {}  # noqa: RUF012
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys differ.

        Raises:
            yaml.constructor.ConstructorError: a key is there twice.
        """
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {shown(key.value)} is there twice",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    @classmethod
    def add(cls, kind: str, pattern: str, first: str, read: Callable[[str], Any]) -> None:
        """Take plain texts of that pattern for a kind of value.

        Args:
            kind: of the core schema.
            pattern: a regular expression.
            first: characters that such a text begins with.
            read: the value of a text; raises ValueError.
        """

        def construct(loader: yaml.SafeLoader, node: Any) -> Any:
            try:
                return read(str(loader.construct_scalar(node)))
            except ValueError as error:
                raise yaml.constructor.ConstructorError(
                    problem=str(error), problem_mark=node.start_mark
                ) from None

        tag = f"tag:yaml.org,2002:{kind}"
        cls.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), list(first) or [""])
        cls.add_constructor(tag, construct)


def _whole(text: str) -> int:
    """Decimal, whatever zeros stand in front; 0o is octal, 0x hexadecimal."""
    # A text that is long is not read at all: that takes time, and Python refuses the longest.
    value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 100 else None
    if value is None or abs(value) > LARGEST_INTEGER:
        raise ValueError(f"the whole number {shown(text)} is beyond 64 bits")
    return value


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{shown(text)} is neither true nor false")
    return text.lower() == "true"


_CoreLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_CoreLoader.add("bool", "true|True|TRUE|false|False|FALSE", "tTfF", _bool)
_CoreLoader.add("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", _whole)
_CoreLoader.add(
    "float",
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "-+.0123456789",
    _float,
)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return found
