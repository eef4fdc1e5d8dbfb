"""Presets hold the published samplers, and a search can begin from them by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search.schedules import STANDARD
from search.strategy_file import StrategyFile
from search.strategy_text import about
from tests.reference.published import PRESETS
from trials.lab import Lab
from trials.presets.presets import FOLDER, preset_named, presets, read_strategy
from trials.searches.reading import read_settings

Autonat = Callable[..., tuple[int, str, str]]


def test_every_file_is_a_preset_and_every_preset_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == presets().keys()


@pytest.mark.parametrize("name", [*PRESETS])
def test_a_preset_holds_the_published_formulas(name: str) -> None:
    file, expected = read_strategy(name), PRESETS[name]
    assert file.generation.choices() == expected.choices()
    for schedule in STANDARD:
        assert file.generation.schedule(schedule) == pytest.approx(expected.schedule(schedule))
    told = json.loads((FOLDER / f"{name}.json").read_text())
    assert told["about"] != about(file)  # it says whose sampler it is, and what differs


@pytest.mark.parametrize("name", [*presets()])
@pytest.mark.parametrize("steps", [4, None])
def test_a_search_begins_from_a_preset_by_its_name(name: str, steps: int | None) -> None:
    published = read_strategy(name).generation
    steps = steps or published.steps
    settings = read_settings({"objective": "simulated", "steps": steps, "start": Path(name)})
    space = settings.space()
    assert settings.generation_space().start == published.with_steps(steps)
    assert set(presets()[name].frozen).isdisjoint(getattr(space, "free", ()))
    assert name not in str(settings.problem())  # the record holds what the preset held


def test_what_is_given_is_preferred_to_what_a_preset_brings() -> None:
    given = {"objective": "simulated", "steps": 12, "start": Path("muse-class")}
    wide = {"sampling_temperature": {"low": 0.0, "high": 9.0}}
    space = read_settings({**given, "bounds": wide}).generation_space()
    assert space.bounds["sampling_temperature"].high == 9
    with pytest.raises(ValueError, match="sampling_temperature_0 = 4.125 is outside its bounds"):
        read_settings(
            {**given, "bounds": {"sampling_temperature": {"low": 0.0, "high": 4.0}}}
        ).generation_space()
    given = {"objective": "simulated", "steps": 32, "start": Path("halton-256-base")}
    assert read_settings(given).frozen == ["remask_temperature"]
    assert read_settings({**given, "frozen": []}).frozen == []
    for orders, frozen in (
        (["confidence", "halton"], []),
        (["halton", "halton-rolled"], ["remask_temperature"]),
        (["halton-rolled"], ["remask_temperature"]),
    ):
        choices = {"token_order": orders}
        assert read_settings({**given, "choices": choices}).frozen == frozen


def test_the_published_sampler_is_a_control_of_the_search_that_starts_from_it(
    autonat: Autonat, with_mlflow: Lab
) -> None:
    given = {"objective": "simulated", "steps": 4, "start": Path("amused-256")}
    usual = ["rule of thumb", "more remask noise"]
    assert read_settings(given).controls == [*usual, "start"]
    assert read_settings({**given, "controls": ["one step"]}).controls == ["one step"]
    assert read_settings({**given, "start": Path("published")}).controls == usual
    lab = with_mlflow.folder
    code, _, err = autonat(
        *("search", "--objective", "simulated", "--start", "amused-256", "--steps", 4),
        *("--images", 100, "--budget", 300, "--optimisers", "random", "--runner", "local"),
        *("--test-images", 100, "--test-seeds", "1", "--name", "mine", "--lab", lab),
    )
    assert code == 0, err
    control = StrategyFile.read(lab / "results" / "mine" / "start.json")
    assert control.generation == PRESETS["amused-256"].with_steps(4)
    assert control.baseline is not None
    assert control.test is not None


def test_a_file_of_the_same_name_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = StrategyFile(PRESETS["muse-text"])
    mine.write(tmp_path / "muse-class")
    assert preset_named("muse-class") is None
    assert read_strategy("muse-class").generation == PRESETS["muse-text"]
    with pytest.raises(
        ValueError, match="^other: no such strategy file or preset; known: muse-class, mus"
    ):
        read_strategy("other")
    with pytest.raises(ValueError, match=r"^other\.json: "):
        read_strategy("other.json")


def test_commands_on_a_strategy_take_a_preset(autonat: Autonat) -> None:
    code, out, _ = autonat("show", "halton-256-base", "--json")
    assert code == 0
    assert json.loads(out)["generation"]["token_order"] == "halton"
    code, out, err = autonat(
        *(
            "evaluate",
            "halton-256-confidence",
            "--objective",
            "simulated",
            "--images",
            100,
            "--seeds",
            "1",
        )
    )
    assert code == 0, err
    assert autonat("evaluate", "other", "--objective", "simulated")[0] == 2
