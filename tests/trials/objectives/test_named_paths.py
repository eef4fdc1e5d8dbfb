from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.objectives.generator_objective import NamedGeneratorObjective
from trials.objectives.images import ImagesObjective
from trials.objectives.named_paths import KindAndPath, MaybePath, PathText, with_absolute_paths
from trials.objectives.tabulated import TabulatedObjective
from trials.searches.reading import read_settings

Autonat = Callable[..., tuple[int, str, str]]


class Mine:
    def __init__(
        self,
        *,
        checkpoint: Path = Path("mine.pt"),
        table: PathText | None = None,
        features: KindAndPath = "pixels",
        classes: str = "random",
        plain=0,  # type: ignore[no-untyped-def]
        **more: float,
    ) -> None:
        pass


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "random", "pixels"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_what_is_annotated_as_a_path_becomes_absolute(here: Path) -> None:
    given = {
        "checkpoint": "a.pt",
        "table": "../" + here.name + "/a.pt",
        "features": "pixels:a.pt",
        "classes": "random",
        "plain": "a.pt",
        "alpha": 3.0,
        "unknown": "a.pt",
    }
    found = with_absolute_paths(Mine, given)
    path = str(here / "a.pt")
    absolute = {"checkpoint": path, "table": path, "features": f"pixels:{path}"}
    assert found == given | absolute
    assert with_absolute_paths(Mine, found) == found


def test_settings_that_are_only_handed_on_may_be_paths(here: Path) -> None:
    def make(*, first: str, **settings: MaybePath) -> None: ...

    given = {"first": "a.pt", "file": "a.pt", "tokenizer": "vqgan:a.pt", "size": "small", "n": 3}
    path = str(here / "a.pt")
    found = with_absolute_paths(make, given)
    assert found == given | {"file": path, "tokenizer": f"vqgan:{path}"}
    assert with_absolute_paths(make, found) == found


def test_what_does_not_lie_there_stays_as_it_was_said(here: Path) -> None:
    given: dict[str, Any] = {"checkpoint": "no.pt", "table": None, "features": "pixels"}
    assert with_absolute_paths(Mine, given) == given
    assert with_absolute_paths(TabulatedObjective, {"table": "digits-T8"}) == {"table": "digits-T8"}


def test_an_annotation_that_cannot_be_read_is_no_path(here: Path) -> None:
    class Odd:
        def __init__(self, data: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
            pass

    assert with_absolute_paths(Odd, {"data": "a.pt"}) == {"data": "a.pt"}


def test_a_generator_may_be_a_path_alone(here: Path) -> None:
    for given, found in (("a.pt", f"{here}/a.pt"), ("nat:a.pt", f"nat:{here}/a.pt")):
        made = with_absolute_paths(NamedGeneratorObjective, {"generator": given})
        assert made == {"generator": found}


def test_images_know_their_paths(here: Path) -> None:
    given = dict.fromkeys(["reference", "data", "weights", "prompts"], "a.pt")
    given |= {"features": "inception:a.pt", "tokenizer": "vqgan:a.pt", "size": "random"}
    found = with_absolute_paths(ImagesObjective, given)
    assert {name for name, value in found.items() if str(here) in value} == {*given} - {"size"}


def test_a_start_is_what_its_file_held(here: Path) -> None:
    strategy = replace(GenerationStrategy.maskgit(3), remask_temperature=(0.9, 0.7))
    StrategyFile(strategy).write(here / "mine.json")
    settings = read_settings({"objective": "simulated", "steps": 3, "start": Path("mine.json")})
    (here / "mine.json").unlink()
    assert settings.space().start == strategy
    assert read_settings(settings.problem()) == settings
    assert str(here) not in str(settings.problem())
    with pytest.raises(ValueError, match=r"nix\.json"):
        read_settings({"objective": "simulated", "start": "nix.json"})


def test_a_search_is_resumed_reported_and_measured_again_from_another_folder(
    autonat: Autonat, small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    monkeypatch.chdir(small_table.parent)
    words = "--objective tabulated --runner local --steps 4 --budget 1000 --images 200 --name t"
    words += f" --test-images 200 --optimiser random --set table={small_table.name}"
    assert autonat("search", *words.split(), "--lab", lab, "--tracking-uri", away())[0] == 0
    monkeypatch.chdir(tmp_path)
    where = ("--lab", lab, "--tracking-uri", away())
    assert autonat("report", "t", *where)[0] == 0
    best = lab / "results" / "t" / "best.json"
    measure = ("evaluate", best, "--images", 200, "--seeds", "1", "--json")
    code, here, said = autonat(*measure, "--lab", lab)
    assert code == 0
    assert "measured differently" not in said
    # A colleague gets no path of this machine, and says where the table lies on the other one.
    places = (str(small_table.parent), str(tmp_path))
    for file in strategies(best):
        assert not any(place in file.read_text() for place in places)
    elsewhere = ("--lab", tmp_path / "other")
    code, _, said = autonat(*measure, *elsewhere)
    assert code == 2
    assert said.strip().endswith("; give --set table=PATH")
    code, there, said = autonat(*measure, *elsewhere, "--set", f"table={small_table}")
    assert code == 0
    assert "measured differently" not in said
    assert json.loads(there)["fid"] == json.loads(here)["fid"]
    relative = f"table={Path('..') / small_table.relative_to(small_table.parents[1])}"
    monkeypatch.chdir(small_table.parent)
    assert autonat("search", "--resume", "t", *where, "--set", relative)[0] == 0
    # A table that is put in its place is not the one that was measured.
    table = small_table.read_bytes()
    files = [json.loads(file.read_text())["objective"]["files"] for file in strategies(best)]
    try:
        small_table.write_bytes(b"another one")
        autonat("report", "t", *where)
    finally:
        small_table.write_bytes(table)
    now = [json.loads(file.read_text())["objective"]["files"] for file in strategies(best)]
    assert now == files


def strategies(best: Path) -> list[Path]:
    """The strategy files of a search, those of controls too."""
    return sorted(best.parent.glob("*.json"))


def away() -> str:
    """An MLflow that is not there, so that nobody waits for its schema."""
    return "http://127.0.0.1:9"
