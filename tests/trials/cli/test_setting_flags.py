"""The flags of `autonat search`, which are the settings' own names, and what its help says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from trials.cli.main import HEADINGS, app
from trials.cli.setting_flags import read_flags, setting_options
from trials.searches.reading import KINDS, read_settings
from trials.searches.settings import USUAL

Autonat = Callable[..., tuple[int, str, str]]
COMMANDS = [name for names in HEADINGS.values() for name in names]
SAID: list[tuple[str, list[str], Any]] = [
    ("optimisers", ["tpe,gp", "cmaes"], ["tpe", "gp", "cmaes"]),
    ("frozen", ["mask_ratio, guidance_scale"], ["mask_ratio", "guidance_scale"]),
    ("test_seeds", ["1,2"], [1, 2]),
    ("bounds", ["mask_ratio=0.1:0.9"], {"mask_ratio": {"low": 0.1, "high": 0.9, "log": False}}),
    ("optimiser_settings", ["tpe.max_in_flight=4"], {"tpe": {"max_in_flight": 4}}),
    ("objective_settings", ["width=64", "weights=null"], {"width": 64, "weights": None}),
]


@pytest.fixture
def help_of(autonat: Autonat, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command's help says on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)

    def shown(*words: str) -> str:
        code, out, _ = autonat(*words, "--help")
        assert code == 0
        return out

    return shown


def test_every_setting_has_a_flag_of_its_name() -> None:
    options = setting_options()
    assert {*options} == {*USUAL} - {"alternation", "series"}
    for name, option in options.items():
        assert option.opts[0] == f"--{name.replace('_', '-')}"
    assert {name for kind in KINDS.values() for name in kind.model_fields} == {*USUAL}


@pytest.mark.parametrize(("name", "said", "value"), SAID)
def test_a_flag_says_what_the_study_file_says(
    name: str, said: list[str], value: Any, tmp_path: Path
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({name: value}))
    others = {"optimisers": ["tpe"]} if name == "optimiser_settings" else {}
    assert read_flags({name: said}) == {name: value}
    by_flag = read_settings(others | read_flags({name: said}))
    assert by_flag == read_settings(others, tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--freeze nix", "--frozen nix"),
        ("--images=0", "--images-per-evaluation=0"),
        ("--optimiser nix", "--optimisers nix"),
        ("--optimiser-set nix", "--optimiser-settings nix"),
        ("--control nix", "--controls nix"),
        ("--what training --distribution nix", "--what training --mask-ratio-distribution nix"),
        ("--set nix", "--set nix"),
    ],
)
def test_what_flags_were_called_is_still_read(autonat: Autonat, old: str, new: str) -> None:
    common = ("--objective", "simulated")
    said = autonat("search", *common, *new.split())
    assert said[0] == 2
    assert "nix" in said[2] or "above 0" in said[2]
    assert autonat("search", *common, *old.split()) == said


def test_the_help_of_search_groups_the_settings(help_of: Callable[..., str]) -> None:
    said = help_of("search")
    for heading in ("What is searched", "Budget", "Final test", "Training", "Where it runs"):
        assert f"─ {heading} " in said
    told = re.sub(r"[│\s]+", " ", said)
    for name, usual in (("steps", 8), ("budget", 50000), ("test-seeds", "1,2,3")):
        assert re.search(rf"--{name} .{{,120}}\(default: {usual}\)", told)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal(help_of: Callable[..., str], command: str) -> None:
    said = help_of(*command.split())
    assert all(len(line) <= 80 for line in said.splitlines())
    assert not re.search(r"--[a-z-]*…", said)  # a name that is cut


def test_every_command_is_listed_and_all_that_it_takes_is_explained() -> None:
    group: Any = typer.main.get_command(app)
    assert {*group.commands} == {*COMMANDS}
    context = typer.Context(group)
    for name in COMMANDS:
        for parameter in group.get_command(context, name).get_params(context):
            assert parameter.help, (name, parameter.name)
