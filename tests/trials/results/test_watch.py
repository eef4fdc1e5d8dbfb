"""Watching a record: it must show what the record holds, whatever happens to it meanwhile."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest

from dashboards.live import page
from dashboards.live.curves import curves
from dashboards.live.input import Elsewhere
from search.measurement import Failure, Measurement
from search.optimiser import Probe
from search.progress import Value
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.record.driver import ATTRIBUTE
from trials.record.hold import hold
from trials.record.record import Record
from trials.results import new_trials
from trials.results import watch as watching
from trials.results.announced import Announced, announced
from trials.results.listing import searches
from trials.results.progress import search_progress
from trials.results.seen import SearchSeen, _lowest
from trials.results.watch import Look, Watch

RULE = GenerationStrategy.maskgit(4)
SPACE = Space(RULE).to_json()
SEARCH: dict[str, Any] = {
    "objective": "simulated",
    "steps": 4,
    "optimisers": ["random", "tpe"],
    "budget": 2000,
    "images_per_evaluation": 100,
    "controls": ["rule of thumb"],
    "test_images": 200,
    "test_seeds": [1, 2],
}


def made(lab: Lab, name: str, kind: str, optimiser: str | None = None, **more: Any) -> Record:
    settings = {"search_name": name, "search": SEARCH, "kind": kind, "space": SPACE, **more}
    settings |= {"objective": {"name": "simulated", "tokens": 64}, "protocol": {"metric": "fid"}}
    if optimiser is not None:
        settings["optimiser"] = optimiser
    return Record.create(lab.record_url, f"{name}-{optimiser or kind}", settings)


def add(record: Record, number: int, value: float | str, role: str = "sample", **of: Any) -> None:
    n, seed = of.get("images", 100), of.get("seed", 2**31 + number)
    strategy = of.get("strategy", RULE)
    probe = Probe(number, strategy, n, seed, 0, role)
    done = of.get("done", n)
    result = (
        Failure(value)
        if isinstance(value, str)
        else Measurement(value, 0.25, done, strategy.forward_passes(), 0.5)
    )
    record.add(probe, result, None)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.open(tmp_path / "lab")


@pytest.fixture
def look(lab: Lab) -> Callable[[], Look]:
    watch = Watch(lab)
    return lambda: watch.look(fresh_for=0)


def only(look: Look) -> SearchSeen:
    assert look.problems == ()
    [found] = look.searches
    return found


def test_there_may_be_no_record_yet_and_none_is_made(lab: Lab, look: Callable[[], Look]) -> None:
    assert look().searches == ()
    assert not (lab.folder / "record.db").exists()


def test_a_control_that_ends_after_many_others_is_shown(lab: Lab, look: Callable[[], Look]) -> None:
    random = made(lab, "first", "search", "random")
    other = GenerationStrategy.maskgit(4).with_passes(5)
    for number in range(1, 13):
        add(random, number, 7.0, strategy=other)
    add(random, 0, 9.0, "start")
    assert only(look()).seen_controls == {"rule of thumb": Value(9.0, 0.25)}


def test_it_shows_what_is_listed_and_more(lab: Lab, look: Callable[[], Look]) -> None:
    random, tpe = (made(lab, "first", "search", name) for name in ("random", "tpe"))
    for number, value in enumerate((9.0, 7.0, 8.0)):
        add(random, number, value, "start" if number == 0 else "sample")
    found = only(look())
    assert found.seen_controls == {"rule of thumb": Value(9.0, 0.25)}
    assert found.best == Value(7.0, 0.25)
    assert found.studies[0].curve == ((100, 9.0), (200, 7.0), (300, 7.0))

    add(random, 3, "out of memory at 1 GiB")
    add(random, 4, "out of memory at 2 GiB")
    add(tpe, 0, 6.5)
    add(tpe, 1, 5.0, images=100, done=25)  # was stopped early, and compares with none
    add(tpe, 2, math.inf)
    found = only(look())
    [listed] = searches(lab)
    assert {name: getattr(found, name) for name in vars(listed)} == vars(listed)
    assert found.reasons == (("out of memory at 1 GiB", 2),)
    assert found.best == Value(6.5, 0.25)
    assert found.studies[1].curve[-1] == (225, 6.5)

    strategies = {name: RULE.to_json() for name in ("random", "tpe", "rule of thumb")}
    test = made(lab, "first", "test", strategies=strategies)
    for number, (role, value) in enumerate((("random", 7.0), ("tpe", 6.0), ("rule of thumb", 9.0))):
        for seed in (1, 2):
            add(test, 2 * number + seed, value + seed, role, seed=seed, images=200)
    found = only(look())
    assert found.state == "done"
    assert (found.tested, found.to_test) == (6, 6)
    assert found.best == found.studies[1].test == Value(7.5, pytest.approx(0.5))
    assert found.controls == {"rule of thumb": Value(10.5, pytest.approx(0.5))}
    assert found.value == searches(lab)[0].value


def test_a_search_has_the_final_test_as_its_best_once_all_are_tested(
    lab: Lab, look: Callable[[], Look]
) -> None:
    for name, value in (("random", 7.0), ("tpe", 6.0)):
        add(made(lab, "first", "search", name), 0, value)
    strategies = {name: RULE.to_json() for name in ("random", "tpe")}
    test = made(lab, "first", "test", strategies=strategies)
    for number, role in enumerate(strategies):
        for seed in (1, 2):
            found = only(look())
            assert (found.best, found.final) == (Value(6.0, 0.25), False)
            add(test, 2 * number + seed, 8.0 - number + seed, role, seed=seed, images=200)
    found = only(look())
    assert (found.best, found.final) == (Value(8.5, pytest.approx(0.5)), True)


def test_of_equal_values_one_may_have_no_error() -> None:
    same = [Value(7.0, 0.25), None, Value(7.0, None)]
    assert _lowest(same) == Value(7.0, 0.25)


def test_an_alternation_shows_the_best_of_its_generation_halves(
    lab: Lab, look: Callable[[], Look]
) -> None:
    of = {**SEARCH, "what": "both", "training_optimiser": "tpe", "rounds": 1}
    of |= {"training_budget": 200, "training_steps": 100}
    whole = made(lab, "whole", "alternation", search=of)
    half = {**SEARCH, "alternation": "whole", "optimisers": ["random"]}
    record = made(lab, "half", "search", "random", search=half)
    add(record, 0, 7.0)

    def shown() -> tuple[Value | None, bool, float | None]:
        [found] = [search for search in look().searches if search.name == "whole"]
        return found.best, found.final, found.value

    assert shown() == (Value(7.0, 0.25), False, None)
    test = made(lab, "half", "test", strategies={"random": RULE.to_json()}, search=half)
    for seed in (1, 2):
        add(test, seed, 7.0 + seed, "random", seed=seed, images=200)
    assert shown() == (Value(8.5, pytest.approx(0.5)), True, 8.5)
    assert whole.name == "whole-alternation"


@pytest.mark.parametrize("lacking", ["training_budget", "rounds", "training_optimiser"])
def test_a_damaged_alternation_is_a_line_and_hides_no_other(
    lab: Lab, look: Callable[[], Look], lacking: str
) -> None:
    of = {**SEARCH, "what": "both", "training_optimiser": "tpe", "rounds": 1}
    of |= {"training_budget": 200, "training_steps": 100}
    made(lab, "whole", "alternation", search={k: v for k, v in of.items() if k != lacking})
    made(lab, "first", "search", "random")
    line = f"study whole-alternation is damaged and left out: KeyError: '{lacking}'"
    found = look()
    assert (found.problems, [s.name for s in found.searches]) == ((line,), ["first"])
    said: list[str] = []
    assert [s.name for s in searches(lab, lambda _, why: said.append(why))] == ["first"]
    assert said == [line]


def test_a_trial_that_is_recorded_while_others_are_read_comes_whole(
    lab: Lab, look: Callable[[], Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    test = made(lab, "first", "test", strategies={"tpe": RULE.to_json()})
    add(test, 1, 9.0, "tpe", seed=1, images=200)
    attributes = new_trials._attributes

    def meanwhile(*arguments: Any) -> Any:
        found = attributes(*arguments)
        if len(test.evaluations) == 1:
            add(test, 2, 8.0, "tpe", seed=2, images=200)
        return found

    monkeypatch.setattr(new_trials, "_attributes", meanwhile)
    watch = Watch(lab)
    assert only(watch.look()).tested == 1
    watch.look(fresh_for=0)
    [tally] = watch._tallies.values()
    assert tally.tested == {"tpe": {1: 9.0, 2: 8.0}}


def test_a_running_search_has_a_speed_and_an_end(lab: Lab, look: Callable[[], Look]) -> None:
    record = made(lab, "first", "search", "random")
    with hold(lab.record_url, record.name):
        for number in range(3):
            add(record, number, 9.0 - number)
            time.sleep(0.05)
        found = only(look())
        assert found.state == "running"
        assert found.driver is not None
        assert found.images_per_second is not None
        # 17 evaluations of 100 images, and 3 tested strategies with 2 seeds and 200 images each
        left = (17 * 100 + 6 * 200) / found.images_per_second
        assert found.seconds_left == pytest.approx(left)
        told = search_progress([record], datetime(2000, 1, 1))  # as the terminal shows it
        assert told.left == pytest.approx(left)
    assert only(look()).seconds_left is None


def test_superseded_evaluations_count_for_nothing(lab: Lab, look: Callable[[], Look]) -> None:
    record = made(lab, "first", "search", "random")
    for number, value in enumerate((9.0, 3.0, "diverged")):
        add(record, number, value)
    assert only(look()).best == Value(3.0, 0.25)
    record.supersede(record.evaluations[1:])
    found = only(look())
    assert (found.best, found.failed, found.reasons) == (Value(9.0, 0.25), 0, ())


def test_a_final_test_that_was_reopened_is_still_to_come(
    lab: Lab, look: Callable[[], Look]
) -> None:
    record = made(lab, "first", "search", "random")
    test = made(lab, "first", "test", strategies={"random": RULE.to_json()})
    for seed in (1, 2):
        add(test, seed, 7.0, "random", seed=seed, images=200)
    test.reopen()
    record.reopen()
    with hold(lab.record_url, record.name):
        for number in range(3):
            add(record, number, 9.0 - number)
            time.sleep(0.05)
        found = only(look())
        assert (found.tested, found.final) == (0, False)
        assert found.images_per_second is not None
        left = (17 * 100 + found.to_test * 200) / found.images_per_second
        assert found.seconds_left == pytest.approx(left)
        assert found.to_test == 2
        told = search_progress([record, test], datetime(2000, 1, 1)).left
        assert told is not None
        assert told / found.seconds_left == pytest.approx(1, rel=0.05)
        record.settle()  # it has the same winner: of the test only what failed is left
        add(test, 3, "out of memory", "random", seed=3, images=200)
        test.supersede(test.failed)
        for number in range(3, 20):
            add(record, number, 9.0)
        found = only(look())
        assert (found.tested, found.to_test) == (2, 2)
        assert found.seconds_left == 0


def test_a_study_that_takes_the_number_of_a_deleted_one_is_another(
    lab: Lab, look: Callable[[], Look]
) -> None:
    for value in (3.0, 8.0):
        record = made(lab, "first", "search", "random")
        add(record, 0, value)
        assert only(look()).best == Value(value, 0.25)
        optuna.delete_study(study_name=record.name, storage=lab.record_url)
        assert look().searches == ()


DAMAGES = {
    "settings": "update study_user_attributes set value_json = '{' where key = 'settings'",
    "no budget": "update study_user_attributes set value_json = json_remove(value_json, "
    "'$.search.budget') where key = 'settings'",
    "driver": "update study_user_attributes set value_json = '[1]' where key = 'driver'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_study_is_a_line_here_and_in_the_list(
    lab: Lab, look: Callable[[], Look], damage: str
) -> None:
    good, bad = made(lab, "good", "search", "random"), made(lab, "bad", "search", "random")
    for record in (good, bad):
        add(record, 0, 9.0)
    bad._study.set_user_attr(ATTRIBUTE, None)
    assert len(look().searches) == 2
    with closing(sqlite3.connect(lab.folder / "record.db")) as database, database:
        database.execute(f"{DAMAGES[damage]} and study_id = 2")
    for _ in range(2):
        seen = look()
        assert [search.name for search in seen.searches] == ["good"]
        [line] = seen.problems
        assert line.startswith("study bad-random is damaged and left out: ")
    notes = dict[str, str]()
    assert [search.name for search in searches(lab, notes.__setitem__)] == ["good"]
    assert notes == {"bad-random": line}


@pytest.mark.parametrize(
    ("key", "says"), [("images", "JSONDecodeError"), ("strategy", "expected a role and a strategy")]
)
def test_a_damaged_trial_is_a_line_and_counts_once_for_nothing(
    lab: Lab, key: str, says: str
) -> None:
    record = made(lab, "first", "search", "random")
    add(record, 0, 9.0)
    add(record, 1, 3.0)
    with closing(sqlite3.connect(lab.folder / "record.db")) as database, database:
        change = "update trial_user_attributes set value_json = 'x'"
        if says != "JSONDecodeError":
            change = "delete from trial_user_attributes"
        database.execute(f"{change} where key = ? and trial_id = 2", (key,))
    add(record, 2, 8.0)
    watch = Watch(lab)
    seen = watch.look()
    assert seen.searches[0].best == Value(8.0, 0.25)
    [line] = seen.problems
    assert line.startswith("study first-random, trial 1: ")
    assert says in line
    [tally] = watch._tallies.values()
    assert (tally.trials, tally.complete, tally.images) == (3, 2, 200)


def test_a_locked_record_is_a_line_and_the_last_look_stays(
    lab: Lab, look: Callable[[], Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.record.databases.LOCK_SECONDS", 0.1)
    record = made(lab, "first", "search", "random")
    add(record, 0, 9.0)
    before = look()
    file = lab.folder / "record.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("begin exclusive")
        locked = look()
    assert (locked.searches, locked.at) == (before.searches, before.at)
    [line] = locked.problems
    assert "database is locked" in line
    file.write_bytes(b"this is not a database")
    assert "not a database" in look().problems[0]


def test_the_record_is_only_read(lab: Lab, look: Callable[[], Look]) -> None:
    add(made(lab, "first", "search", "random"), 0, 9.0)
    file = lab.folder / "record.db"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    file.chmod(0o444)
    look()
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_large_record_is_read_in_pieces_the_latest_search_first(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "new"):
        record = made(lab, name, "search", "random")
        add(record, 0, 9.0)
    monkeypatch.setattr(watching, "READ_SECONDS", -1.0)
    watch = Watch(lab)
    first = watch.look()
    assert [search.name for search in first.searches] == ["new"]
    assert first.problems == ("reading the record: 1 of 2 searches so far",)
    file = lab.folder / "record.db"
    file.rename(away := file.with_name("away.db"))
    watch.catch_up()  # it ends, although there is nothing to read
    away.rename(file)
    watch.look(fresh_for=0)
    watch.catch_up()
    assert {search.name for search in watch.look().searches} == {"old", "new"}


def test_what_was_read_once_is_not_read_again(
    lab: Lab, look: Callable[[], Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made(lab, "first", "search", "random")
    add(record, 0, 9.0)
    add(record, 1, 8.0)
    read, rows = list[int](), watching.new_rows

    def noted(*arguments: Any) -> Any:
        for row in rows(*arguments):
            read.append(row.number)
            yield row

    monkeypatch.setattr(watching, "new_rows", noted)
    look()
    add(record, 2, 7.0)
    look()
    look()
    assert read == [0, 1, 2]


def test_a_search_is_shown_as_being_prepared_for_as_long_as_it_is(lab: Lab) -> None:
    made(lab, "first", "search", "random")
    watch, elsewhere = Watch(lab), Elsewhere("", "")
    first = Announced("first", "digits", "generation", 4, ("tpe", "random"), 80)
    with announced(lab, first), announced(lab, replace(first, name="second")):
        look = watch.look()
        told = [(s.name, s.state, s.budgeted, len(s.studies)) for s in look.searches]
        assert told == [("second", "preparing", 80, 0), ("first", "preparing", 40, 1)]
        assert f"0 of 80 evaluations · process {os.getpid()} on " in str(
            page.above(look.searches[0], elsewhere, {})
        )
        assert "2 preparing" in str(page.head(look, "lab", elsewhere))
        assert "Being prepared" in str(page.tables(look, (), (), elsewhere, {}))
        assert [s.name for s in page.in_full(look, ())] == ["second", "first"]
        figure = curves(look.searches[0])
        assert [note.text for note in figure.layout.annotations] == ["no evaluations yet"]
        assert not figure.layout.xaxis.visible
    assert [(s.name, s.state) for s in watch.look(0).searches] == [("first", "interrupted")]
