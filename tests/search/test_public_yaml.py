"""The public code's YAML of four bare lists, with the one strategy that was published."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.public_yaml import from_public, read_public, to_public, write_public
from search.strategy import GenerationStrategy

PUBLISHED = """
manual_ratios: [0.9531645174140464, 0.8795409806037042, 0.7940230737075623, 0.745995860948045,
  0.6249785820461957, 0.407321956652571, 0.260658917067054]
manual_temp: [2.404912789740805, 2.477616274962803, 1.191696577294597, 0.7685444738649722,
  1.0673489052089495, 0.9353720330515827, 0.7843839537838292]
manual_samp_temp: [2.8999037830310685, 1.867261830931786, 1.1443729673819831, 1.3796334226014182,
  1.4699896959810144, 1.3760684112198358, 1.7082165405200722, 0.7133060703601533]
manual_cfg: [0.0001, 0.0001, 0.0001, 0.9151274967591447, 1.6160182878189675, 1.1945509026838659,
  1.38322370140345, 1.22678520936251]
"""
"""AutoNAT-L, ImageNet-256, T = 8."""


def published() -> dict[str, list[float]]:
    lists: dict[str, list[float]] = yaml.safe_load(PUBLISHED)
    return lists


def test_published_strategy(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED)
    strategy = read_public(path)
    assert strategy.steps == 8
    assert strategy.forward_passes() == 13
    assert strategy.guided == (False,) * 3 + (True,) * 5
    assert strategy.guidance_floor == 1e-4
    assert strategy.mask_ratio[0] == 0.9531645174140464
    assert strategy.remask_temperature[0] == 2.404912789740805
    assert strategy.sampling_temperature[0] == 2.8999037830310685
    assert strategy.guidance_scale[3] == 0.9151274967591447
    counts = strategy.masked_counts(256)
    assert counts == (244, 225, 203, 190, 159, 104, 66, 0)


def test_round_trip(tmp_path: Path) -> None:
    strategy = from_public(published())
    assert to_public(strategy) == published()
    write_public(tmp_path / "again.yaml", strategy)
    assert read_public(tmp_path / "again.yaml") == strategy
    assert yaml.safe_load((tmp_path / "again.yaml").read_text()) == published()


def test_guidance_of_0_is_the_public_bound() -> None:
    strategy = GenerationStrategy((0.5,), (1.0,), (1.0, 1.0), (0.2, 0.9), guidance_floor=0.2)
    public = to_public(strategy)
    assert public["manual_cfg"] == [1e-4, 0.9]
    again = from_public(public)
    assert again.guided == strategy.guided
    assert again.forward_passes() == strategy.forward_passes()
    without = GenerationStrategy((), (), (1.0,), (0.0,))
    assert from_public(to_public(without)).forward_passes() == 1


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("manual_cfg", None, "lacks the field 'manual_cfg'"),
        ("manual_top_k", [1.0], "unknown field 'manual_top_k'"),
        ("manual_temp", [1.0], "remask_temperature has 1 values"),
        ("manual_ratios", [1.5] * 7, r"mask_ratio\[0\] = 1.5 is outside \[0, 1\)"),
        ("manual_cfg", [math.nan] * 8, r"guidance_scale\[0\] = nan is not finite"),
    ],
)
def test_bad_lists(tmp_path: Path, name: str, values: list[float] | None, line: str) -> None:
    lists: dict[str, Any] = published()
    lists.pop(name, None)
    if values is not None:
        lists[name] = values
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(lists))
    with pytest.raises(ValueError, match=line) as caught:
        read_public(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: [1, 2", r"bad\.yaml: not YAML \(line 1: "),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"!!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
        (b"- 1\n- 2\n", "expected an object"),
        (b"", "expected an object"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=line) as caught:
        read_public(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: No such file"):
        read_public(tmp_path / "none.yaml")
