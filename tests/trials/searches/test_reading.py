"""Errors of study files name the file where it is at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from trials.searches.reading import read_settings


def refused(text: str, values: dict[str, object], folder: Path) -> str:
    file = folder / "study.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=".") as caught:
        read_settings(values, file)
    return str(caught.value).replace(str(file), "FILE")


def test_the_file_is_at_fault(tmp_path: Path) -> None:
    assert refused("steps: many", {}, tmp_path) == (
        "FILE: steps: expected a whole number, got 'many'"
    )
    assert refused("stepps: 4", {}, tmp_path).startswith(
        "FILE: stepps: unknown (did you mean steps?); known: what, name, objective, "
    )
    line = refused("bounds: {mask_ratio: {low: 0.1, high: 0.9, lgo: true}}", {}, tmp_path)
    assert line == "FILE: bounds.mask_ratio.lgo: expected no such setting, got True"


def test_a_flag_is_at_fault(tmp_path: Path) -> None:
    assert refused("steps: 4", {"steps": "many"}, tmp_path) == (
        "steps: expected a whole number, got 'many'"
    )
    assert refused("scheduler: asha", {"runner": "local"}, tmp_path).startswith("scheduler asha: ")
