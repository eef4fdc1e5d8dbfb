from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from search.reading import parse_json, parse_yaml, read_json, read_yaml, shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("4e-1", 0.4),
        ("1e1", 10.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-5", -5),
        ("true", True),
        ("null", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("2:3", "2:3"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        ("'1e-4'", "1e-4"),
        ("=", "="),
        ("<<: 1", {"<<": 1}),
        ("\ufeffa: [1, 2.0]", {"a": [1, 2.0]}),
    ],
)
def test_yaml_1_2(text: str, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
        ("{a: {b: 1, b: 1}}", "line 1: the key 'b' occurs twice"),
        ("a: [1, 2", "not YAML (line 1: expected ',' or ']'"),
        ("a: b: c", "not YAML (line 1: mapping values are not allowed here)"),
        ("'\x01'", "not YAML (unacceptable character"),
        ("9" * 400, "line 1: the whole number '9999"),
        ("0x" + "f" * 6000, "line 1: the whole number '0xff"),
        ("[" * 100_000, "it is nested too deeply"),
        ("!!bool yes", "line 1: expected true or false, got 'yes'"),
        ("!!float ''", "line 1: could not convert string to float"),
        ("!!timestamp abc", "line 1: could not determine a constructor"),
        ("!!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
        ("{[1]: 2}", "line 1: found unhashable key"),
    ],
)
def test_what_yaml_is_refused(text: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' occurs twice"),
        ("9" * 400, "the whole number '9999"),
        ("9" * 5000, "the whole number '9999"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("", "not JSON (Expecting value: line 1"),
    ],
)
def test_what_json_is_refused(text: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 250


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(file) == read_yaml(file) == {"a": 1}
    file.write_bytes(b"\xff\xfe\x00")
    for read in (read_json, read_yaml):
        with pytest.raises(ValueError, match=r"file: not UTF-8 text$"):
            read(file)
        with pytest.raises(ValueError, match=r"none: No such file or directory$"):
            read(tmp_path / "none")
        with pytest.raises(ValueError, match=r"Is a directory$"):
            read(tmp_path)


def test_a_long_value_is_cut_in_error_lines() -> None:
    assert len(shown("a" * 10_000)) < 120
    assert len(shown(list(range(10_000)))) < 120
    assert shown({"a": 1}) == "{'a': 1}"
