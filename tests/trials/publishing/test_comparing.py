"""One report of several searches: what it groups, says of their settings, and refuses."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from dashboards.result_figures import colours_of, draw_schedules, draw_seeds, labelled
from tests.dashboards.conftest import compared as made_up
from trials.lab import Lab
from trials.publishing import comparing
from trials.results.comparison import Comparison, _require_comparable
from trials.searches.settings import USUAL


def settings(
    seed: int = 0, steps: int = 4, budget: int = 1000, data: str = "mine"
) -> dict[str, Any]:
    return {
        "objective": {
            "name": "o",
            "dataset": data,
            "checkpoint": None,
            "tokens": 64,
            "settings": {},
        },
        "protocol": {"metric": "fid"}
        | dict.fromkeys(("features", "quantisation", "classes", "reference_statistics_hash")),
        "search": {
            "steps": steps,
            "budget": budget,
            "images_per_evaluation": 100,
            "seed": seed,
            "optimisers": ["tpe"],
            "bounds": {"guidance_scale": {"low": 0, "high": 2, "log": False}},
        },
    }


def comparison(**told: dict[str, Any]) -> Comparison:
    tpe, *controls = made_up({"tpe": 4.0}, steps=4)
    own = [dataclasses.replace(tpe, search=name) for name in told]
    return Comparison([*own, *controls], [], told)


def test_searches_that_differ_by_their_seed_are_one_group() -> None:
    found = comparison(a=settings(), b=settings(seed=1), c=settings(budget=2000)).over_seeds()
    assert {label: [r.search for r in of] for label, of in found.items()} == {
        "a + 1/tpe": ["a", "b"],
        "c/tpe": ["c"],
    }
    alone = comparison(a=settings(), b=settings(seed=1)).over_seeds()
    assert [*alone] == ["tpe"]


def test_the_page_says_where_they_differ(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = comparison(a=settings(), b=settings(seed=1), c=settings(seed=1, budget=2000))
    monkeypatch.setattr(comparing, "compared", lambda *_: found)
    path = comparing.write_comparison(lab, [*found.settings])
    assert path == lab.folder / "results" / "a+b+c.html"
    text = re.sub(r"<(script|style).*?</\1>", "", path.read_text(), flags=re.DOTALL)
    words = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    for told in ("search seed 0 1 1", "bounds guidance_scale 0 to 2", "Over search seeds"):
        assert told in words
    assert "1,000 images a method, 100 an evaluation 1,000 images" in words
    names = [f"a-search-with-a-long-name-{i}" for i in range(20)]
    paths = [comparing._path(lab, of) for of in (names, [*names[:-1], "another"], names)]
    assert re.fullmatch(rf"{names[0]}\+19-others-\w{{8}}\.html", paths[0].name)
    assert paths[0] == paths[2] != paths[1]


def test_a_setting_without_words_of_its_own_is_told_where_it_differs() -> None:
    one, other = settings(), settings()
    one["search"] |= {"controls_first": USUAL["controls_first"]}  # told or not, it is the same
    other["search"] |= {"scheduler": "asha", "choices": {"token_order": ["confidence", "halton"]}}
    _, different = comparing._facts(comparison(a=one, b=other))
    assert different == {
        "choices": ["the usual", '{"token_order": ["confidence", "halton"]}'],
        "scheduler": ["the usual", "asha"],
    }


def test_other_data_are_refused() -> None:
    told = {"a": settings(), "b": settings(data="yours")}
    with pytest.raises(
        ValueError, match="a was measured on mine, b on yours: their numbers cannot"
    ):
        _require_comparable("a", "b", told)


def test_a_method_has_one_colour_in_all_figures() -> None:
    results = comparison(a=settings(), b=settings(seed=1)).results
    worst = dataclasses.replace(results[0], method="gp", value=99.0)
    named = labelled([worst, *results])
    colour = colours_of(named)
    winners = {"a/tpe", "b/tpe"}
    lines = draw_schedules(named, 64, 4, winners).data
    drawn = {line.name: line.line.color for line in lines if line.name in named}
    assert drawn.keys() - {"rule of thumb"} == winners
    assert all(drawn[label] == colour[label] for label in winners)
    (median, *_) = draw_seeds({"tpe": results[:2]}, named, "fid").data
    assert median.line.color == colour["a/tpe"]
