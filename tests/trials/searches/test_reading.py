"""Errors of settings: those of study files name the file, and what would not be used is refused."""

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


def test_settings_of_what_is_no_longer_used_are_left_out_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "what: both\nobjective: digits\nobjective_settings: {training_seed: 3}\n"
        "optimiser_settings: {autonat-greedy: {stride: 0.1}, cmaes: {seed_of: x}}\n"
    )
    found = read_settings({"optimisers": ["tpe"]}, file)
    assert found.optimiser_settings == {"autonat-greedy": {"stride": 0.1}}
    assert found.objective_settings == {"training_seed": 3}
    file.write_text("objective: digits\nobjective_settings: {training_seed: 3}\n")
    assert read_settings({"objective": "simulated"}, file).objective_settings == {}
    file.write_text("objective_settings: {training_seed: 3}\n")
    assert read_settings({"objective": "digits"}, file).objective_settings == {"training_seed": 3}
    file.write_text(
        "what: training\noptimisers: [autonat-greedy]\n"
        "optimiser_settings: {autonat-greedy: {stride: 0.1}}\n"
    )
    assert read_settings({"optimisers": ["tpe"]}, file).optimiser_settings == {}


def test_a_flag_is_at_fault(tmp_path: Path) -> None:
    assert refused("steps: 4", {"steps": "many"}, tmp_path) == (
        "steps: expected a whole number, got 'many'"
    )
    assert refused("scheduler: asha", {"runner": "local"}, tmp_path).startswith("scheduler asha: ")


@pytest.mark.parametrize(
    ("what", "setting", "value", "line"),
    [
        ("training", "budget", 77, "budget = 77 does not apply to what = training"),
        ("training", "controls", ["one step"], "controls = "),
        ("training", "bounds", {"guidance_scale": {"low": 0, "high": 1}}, "bounds = "),
        ("training", "frozen", ["guidance_scale"], "frozen = "),
        ("training", "choices", {"token_order": ["confidence", "halton"]}, "expected one value"),
        ("joint", "budget", 77, "budget = 77 does not apply to what = joint"),
        ("joint", "controls", ["one step"], "controls = "),
    ],
)
def test_what_would_not_be_used_is_refused(
    what: str, setting: str, value: object, line: str
) -> None:
    values = {"what": what, "objective": "digits", setting: value}
    with pytest.raises(ValueError, match=line):
        read_settings(values)
    read_settings(values | {"alternation": "both"})  # a half has the settings of the whole
    read_settings(values | {"what": "both"})


def test_what_a_preset_or_a_record_brings_is_not_refused() -> None:
    for preset in ("muse-class", "titok-b64", "halton-256-base"):
        found = read_settings({"what": "training", "objective": "digits", "start": preset})
        assert found.bounds or found.frozen
    values = {"what": "training", "objective": "digits", "budget": 77}
    assert read_settings(values, begun=True).budget == 77


def test_a_fixed_choice_is_used_in_training() -> None:
    values = {"what": "training", "objective": "digits", "choices": {"token_order": ["halton"]}}
    assert read_settings(values).generation_space().start.token_order == "halton"
