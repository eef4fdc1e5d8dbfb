"""A search that is being prepared is known to whoever asks, and nobody prepares it twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trials.lab import Lab
from trials.objectives.digits import DigitsObjective
from trials.record.driver import Driver
from trials.results.announced import FOLDER, Announced, announced, announcements
from trials.results.listing import searches
from trials.results.state import state_of

Autonat = Callable[..., tuple[int, str, str]]
FIRST = Announced("first", "digits", "generation", 4, ("tpe", "random"), 80)
WORDS = """
    search --objective digits --set width=8 --set depth=0 --set training_steps=5 --steps 2 --name x
    --optimiser random --images 100 --budget 200 --test-images 100 --test-seeds 1 --runner local
"""


def test_it_is_listed_and_shown_until_it_ends(lab: Lab, autonat: Autonat) -> None:
    with announced(lab, FIRST):
        [entry] = searches(lab)
        told = (entry.name, entry.methods, entry.budgeted, entry.state)
        assert told == ("first", ("tpe", "random"), 80, "preparing")
        code, out, _ = autonat("list", "--lab", lab.folder)
        assert code == 0
        assert "preparing" in out
        code, out, err = autonat("show", "first", "--lab", lab.folder)
        assert code == 0, err
        assert "first: being prepared by process" in out
        assert "0 of 80 evaluations" in out
        assert f"autonat show first --lab {lab.folder}" in out
        assert json.loads(autonat("show", "first", "--lab", lab.folder, "--json")[1])["state"] == (
            "preparing"
        )
    assert searches(lab) == []
    assert not [*(lab.folder / FOLDER).iterdir()]


def test_it_lasts_as_long_as_it_is_prepared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.results.announced.BEAT", 0.05)
    monkeypatch.setattr("trials.record.driver.STALE", 1.0)
    with announced(lab, FIRST):
        time.sleep(1.5)
        assert [*announcements(lab)] == ["first"]
    assert announcements(lab) == {}


def test_nobody_else_prepares_it_meanwhile(lab: Lab) -> None:
    with announced(lab, FIRST):
        with pytest.raises(ValueError, match="search first has been in preparation in process"):
            announced(lab, FIRST).__enter__()
        with announced(lab, replace(FIRST, name="second")):
            assert [*announcements(lab)] == ["first", "second"]
    with announced(lab, FIRST):
        pass


def test_a_lab_where_nothing_can_be_written_is_one_line(lab: Lab) -> None:
    (lab.folder / FOLDER).write_text("a file in the place of the folder")
    with pytest.raises(ValueError, match=r"first\.json: .*exists"):
        announced(lab, FIRST).__enter__()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"search": {"name": "a"}, "driver": {}}'])
def test_what_cannot_be_read_announces_nothing(lab: Lab, content: str) -> None:
    file = lab.folder / FOLDER / "first.json"
    file.parent.mkdir()
    file.write_text(content)
    assert announcements(lab) == {}


def test_a_killed_driver_announces_nothing(lab: Lab) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    file = lab.folder / FOLDER / "first.json"
    file.parent.mkdir()
    driver = replace(Driver.here(), pid=ended.pid)
    file.write_text(json.dumps({"search": asdict(FIRST), "driver": asdict(driver)}))
    assert announcements(lab) == {}
    with announced(lab, FIRST):
        assert [*announcements(lab)] == ["first"]


def test_a_search_announces_itself_also_when_it_is_resumed(
    autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, evaluate, states = DigitsObjective.prepare, DigitsObjective.evaluate, []

    def watched(self: DigitsObjective, folder: Path, report: object) -> None:
        state = state_of(Lab.open(Path("autonat-lab")), "x")
        states.append((state.listed.state, state.driver and state.driver.pid))
        prepare(self, folder, report)  # type: ignore[arg-type]
        if len(states) == 1:
            monkeypatch.setattr(DigitsObjective, "evaluate", interrupted)

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(DigitsObjective, "evaluate", evaluate)
        raise KeyboardInterrupt

    monkeypatch.setattr(DigitsObjective, "prepare", watched)
    assert autonat(*WORDS.split())[0] == 130
    assert [entry.state for entry in searches(Lab.open(Path("autonat-lab")))] == ["interrupted"]
    code, _, err = autonat("search", "--resume", "x")
    assert code == 0, err
    assert states == [("preparing", os.getpid())] * 2
