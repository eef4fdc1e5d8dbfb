"""How searches and controls are compared in a sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboards.report import write_report
from dashboards.standing import same_first, standing
from trials.results.results import MethodResult

Results = Callable[..., list[MethodResult]]


def with_fid(result: MethodResult, fid: float) -> MethodResult:
    return dataclasses.replace(result, value=fid, standard_error=0.03)


@pytest.mark.parametrize(
    ("fid", "said"),
    [
        (4.0, "tpe ends below the best control, more remask noise, by 1.000\xa0±\xa00.042"),
        (
            5.05,
            "tpe ends level with the best control, more remask noise, which needs no search: "
            "their difference, 0.050\xa0±\xa00.042, is inside the noise",
        ),
        (
            6.0,
            "no method beats the best control: more remask noise, which needs no search, ends "
            "below tpe, the best searched method, by 1.000\xa0±\xa00.042",
        ),
    ],
)
def test_the_best_search_stands_to_the_best_control(
    tmp_path: Path, results: Results, fid: float, said: str
) -> None:
    found = results({"tpe": 3.9, "cmaes": 9.0})
    found = [
        with_fid(r, fid if r.method == "tpe" else 5.0 if r.method == "more remask noise" else 9.0)
        for r in found
    ]
    assert standing(found) == said
    page = write_report(tmp_path / "r.html", found, title="t", tokens=64, facts={})
    assert f"; {said}." in page.read_text(encoding="utf-8")


def test_a_search_that_ends_where_a_control_is_has_found_nothing(results: Results) -> None:
    found = [
        with_fid(r, 5.0 if r.method in ("tpe", "more remask noise") else 9.0)
        for r in results({"tpe": 3.9})
    ]
    same = [dataclasses.replace(r, values=(5.0, 5.0)) for r in found]
    assert standing(same) == (
        "tpe found nothing below the best control, more remask noise, which needs no search: "
        "their final tests are the same"
    )


def test_a_winner_that_is_itself_a_control_is_said_to_be_one(results: Results) -> None:
    found = [
        dataclasses.replace(
            with_fid(r, 4.0 if r.searched else 5.0), begun_with="published" if r.searched else None
        )
        for r in results({"tpe": 3.9})
    ]
    said = standing(found)
    assert said is not None
    assert said.startswith("tpe ends below the best control")
    assert said.endswith("; what it found is itself a control, published")


def test_a_single_control_is_not_called_the_best(results: Results) -> None:
    tested = [r for r in results({"tpe": 3.9}) if r.searched or r.method == "rule of thumb"]
    said = standing([with_fid(r, 4.0 if r.searched else 5.0) for r in tested])
    assert said == (
        "tpe ends below the only control tested, rule of thumb, by 1.000\xa0±\xa00.042; more "
        "remask noise, often the best control, was not tested"
    )


def test_without_controls_or_numbers_nothing_is_said(results: Results) -> None:
    found = results({"tpe": 3.9})
    assert standing(found[:1]) is None
    assert standing(found[1:]) is None
    assert standing([with_fid(r, math.nan) for r in found]) is None
    before = dataclasses.replace(found[1], method="before")  # an alternation's, and no control
    assert standing([found[0], before]) is None


def test_the_same_first_strategies() -> None:
    assert same_first(["start", "random order", "published"]) == (
        "every method measured the same 3 strategies first: the start, random order and "
        "published, clipped to the bounds of the search"
    )
    assert "the same strategy first: the start" in same_first(["start"])
