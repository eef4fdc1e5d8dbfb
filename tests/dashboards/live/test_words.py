from __future__ import annotations

from datetime import datetime

from dashboards.live.words import facts, how_far, progress
from search.progress import Value
from trials.results.seen import MethodSeen, SearchSeen


def method(name: str, best: float, test: float | None = None) -> MethodSeen:
    tested = None if test is None else Value(test, 0.1)
    return MethodSeen(name, f"s-{name}", 1, 8, 1, 20, Value(best, 0.5), ((500, best),), tested)


def search(*methods: MethodSeen, state: str = "running", **more: object) -> SearchSeen:
    told = {
        "controls": {},
        "seen_controls": {"rule of thumb": Value(9.0, None), "one step": Value(8.0, None)},
        "best": min([m.test for m in methods if m.test] or [m.best for m in methods], default=None),
        "final": bool(methods) and all(m.test for m in methods),
        "tested": 0,
        "to_test": 6,
        **more,
    }
    names = tuple(m.method for m in methods)
    now = datetime(2026, 1, 1)
    counts = (16, 2, 40)
    return SearchSeen(
        *("s", "digits", "generation", 4, names, *counts, state, 7.0, None, now),
        studies=methods,
        **told,  # type: ignore[arg-type]
    )


def test_a_running_search_has_its_best_beside_the_controls_that_it_measured() -> None:
    shown = facts(search(method("tpe", 7.0)))
    assert [(f.name, f.number) for f in shown] == [
        ("best FID", "7.00\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.50"),
        ("rule of thumb", "9.000"),
        ("best control", "8.000"),
    ]
    assert shown[0].remark == "tpe, lowest in the search"
    assert shown[2].remark == "one step"


def test_a_tested_search_has_final_tests_only() -> None:
    controls = {"rule of thumb": Value(8.0, 0.2)}
    shown = facts(search(method("tpe", 5.0, 7.0), method("gp", 6.0, 6.5), controls=controls))
    assert shown[0].remark == "gp, final test"
    assert shown[0].number.startswith("6.50")
    assert [f.name for f in shown] == ["best FID", "rule of thumb"]
    assert shown[1].number.startswith("8.00")


def test_a_start_may_be_the_best_control() -> None:
    seen = {"rule of thumb": Value(9.0, 0.1), "start": Value(6.0, 0.1), "one step": Value(8.0, 0.1)}
    shown = facts(search(method("tpe", 5.0), seen_controls=seen))
    assert [(f.name, f.remark) for f in shown[1:]] == [
        ("rule of thumb", ""),
        ("best control", "start"),
    ]


def test_while_it_is_tested_its_best_is_that_of_the_search() -> None:
    first = search(method("tpe", 5.0, 7.0), method("gp", 4.0), best=Value(4.0, 0.5))
    assert facts(first)[0].remark == "gp, lowest in the search"
    alternation = search(best=Value(6.0, 0.1), final=True, seen_controls={})
    assert [f.remark for f in facts(alternation)] == ["final test"]


def test_how_far_it_is() -> None:
    running = search(
        method("tpe", 7.0), images_per_second=31.4, busy_workers=1.8, seconds_left=250.0
    )
    words = "18 of 40 evaluations · 31 images/s · 2 workers busy · about 4 min left"
    assert how_far(running) == words
    assert progress(running) == (18, 46)
    assert progress(search(method("tpe", 7.0), state="done")) == (46, 46)
