"""Strict readers for files that people write: YAML 1.2 and JSON, without surprising conversions.

YAML is read with the core schema (yaml.org/spec/1.2.2, chapter 10.3): `1e-4` is a number, while
`no`, `2:3` and dates are strings; YAML 1.1 would read the first as a string and the others as a
boolean, a number and dates. In both languages a duplicate key, an integer beyond 64 bits and
nesting that is too deep are refused, and a byte order mark is ignored.
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
    """Format a value for an error line: its repr, shortened if it is long."""
    return _CUT.repr(value)


def require_fields(
    where: str, data: Any, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Return `data` as a dict that has these fields, and perhaps some of the optional ones.

    Args:
        where: what the data are, for error lines.
        data: the value to check.
        names: the required fields.
        optional: the optional fields.

    Raises:
        ValueError: the data are not an object, or a field is missing or unknown.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, got {shown(data)}")
    for name in names:
        if name not in data:
            raise ValueError(f"{where} lacks the field {shown(name)}")
    for name in data:
        if name not in names and name not in optional:
            raise ValueError(f"{where} has the unknown field {shown(name)}")
    return dict(data)


def read_number(name: str, value: Any, fault: str = "negative") -> float:
    """Return a number in [0, LARGEST_VALUE] as a float; booleans and strings are refused.

    Args:
        name: the name of the value, for error lines.
        value: the value to check.
        fault: what an error line says of a number below 0.

    Raises:
        ValueError: the value is not such a number.
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
    """Read a YAML file; see `parse_yaml`.

    Raises:
        ValueError: the file cannot be read or is not valid; the line names it.
    """
    return _read(path, parse_yaml)


def read_json(path: Path) -> Any:
    """Read a JSON file; see `parse_json`.

    Raises:
        ValueError: the file cannot be read or is not valid; the line names it.
    """
    return _read(path, parse_json)


def parse_yaml(text: str) -> Any:
    """Parse a YAML text. The types are those of JSON, but numbers may be infinite or NaN.

    Raises:
        ValueError: the text is not YAML, or is refused (see the module); the line is named.
    """
    try:
        return yaml.load(text, Loader=_CoreLoader)
    except yaml.constructor.ConstructorError as error:
        raise ValueError(f"{_line_prefix(error)}{error.problem}") from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"not YAML ({_line_prefix(error)}{error.problem})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def parse_json(text: str) -> Any:
    """Parse a JSON text.

    NaN and Infinity are not JSON but common. They are read here, so that the caller can refuse them
    with the name of the field.

    Raises:
        ValueError: the text is not JSON, or is refused (see the module).
    """
    try:
        return json.loads(text, parse_int=_integer, object_pairs_hook=_without_duplicates)
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


def _line_prefix(error: yaml.MarkedYAMLError) -> str:
    return "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "


class _CoreLoader(yaml.SafeLoader):
    """A loader for the core schema of YAML 1.2; PyYAML's own loaders follow YAML 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping whose keys all differ.

        Raises:
            yaml.constructor.ConstructorError: a key occurs twice.
        """
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {shown(key.value)} occurs twice",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    @classmethod
    def add(cls, kind: str, pattern: str, first: str, read: Callable[[str], Any]) -> None:
        """Read unquoted texts that match a pattern as a kind of value.

        Args:
            kind: the name of the kind in the core schema.
            pattern: a regular expression.
            first: the characters that such a text may begin with.
            read: converts a text to its value; may raise ValueError.
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


def _integer(text: str) -> int:
    """Read an integer: octal after 0o, hexadecimal after 0x, else decimal even after a 0."""
    # A long text is not converted at all: that takes time, and Python refuses the longest.
    value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 100 else None
    if value is None or abs(value) > LARGEST_INTEGER:
        raise ValueError(f"the whole number {shown(text)} is beyond 64 bits")
    return value


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, got {shown(text)}")
    return text.lower() == "true"


_CoreLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_CoreLoader.add("bool", "true|True|TRUE|false|False|FALSE", "tTfF", _bool)
_CoreLoader.add("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", _integer)
_CoreLoader.add(
    "float",
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "-+.0123456789",
    _float,
)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return found
