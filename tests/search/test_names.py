"""What people may call things, and what files are called after them."""

from __future__ import annotations

import pytest

from search.names import file_stem, is_metric_name, is_sha256, require_distinct


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("coarse-to-fine", "coarse-to-fine"),
        ("rule of thumb", "rule-of-thumb"),
        ("spsa:SPSA", "spsa-SPSA"),
        ("my.package.module:Class", "my.package.module-Class"),
        ('a/b\\c*d?e"f<g>h|i', "a-b-c-d-e-f-g-h-i"),
        ("..", "unnamed"),
        ("ends with a dot.", "ends-with-a-dot"),
    ],
)
def test_a_file_is_called_what_every_file_system_takes(name: str, stem: str) -> None:
    assert file_stem(name) == stem


def test_names_of_metrics_and_weights() -> None:
    assert [is_metric_name(name) for name in ("fid", "my-metric_2", "FID", "-a", "", None)] == [
        *(True, True),
        *(False, False, False, False),
    ]
    digits = "0123456789abcdef" * 4
    assert is_sha256(f"sha256:{digits}")
    assert not any(map(is_sha256, (digits, f"sha256:{digits[1:]}", f"md5:{digits}", None)))


def test_what_is_named_twice_is_refused() -> None:
    require_distinct("--seeds", [1, 2, 3])
    with pytest.raises(ValueError, match="^--seeds: 2 is named twice$"):
        require_distinct("--seeds", [1, 2, 3, 2])
