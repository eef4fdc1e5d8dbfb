"""The report: what it says, that it stands alone, and what it survives."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import math
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dashboards.formatting import common_decimals, difference, with_error
from dashboards.plotly import plotly_js
from dashboards.report import write_report
from search.controls import CONTROLS
from search.strategy import GenerationStrategy
from trials.results.results import MethodResult

Results = Callable[..., list[MethodResult]]


def written(path: Path, results: list[MethodResult], **changed: object) -> str:
    """The report without its compressed parts and scripts."""
    options = {"title": "Digits", "tokens": 64, "facts": {"generator": "NAT"}} | changed
    assert write_report(path, results, **options) == path  # type: ignore[arg-type]
    page = path.read_text(encoding="utf-8")
    code = r"<script( type=.application/octet-stream.[^>]*)?>.*?</script>"
    return re.sub(code, "", page, flags=re.DOTALL)


class Tags(HTMLParser):
    """The elements of a page, and what they load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attributes if name in ("src", "href")]


def test_it_says_everything_and_loads_nothing(tmp_path: Path, results: Results) -> None:
    page = written(tmp_path / "report.html", results({"tpe": 3.9, "cmaes": 4.0}))
    text = re.sub(r"\s+", " ", page)
    for words in (
        *("Lowest FID in the final test: tpe with", "the rule of thumb has", "one step"),
        *("n = 2,000 images per seed, seeds 1, 2, 3, 4, 5", "48,000", "generator"),
    ):
        assert words in text
    tags = Tags()
    tags.feed(page)
    assert tags.tags.count("img") == 2 + len(CONTROLS)
    assert all(loaded.startswith("data:image/png;base64,") for loaded in tags.loaded)
    assert page.count('class="figure"') == 3
    whole = (tmp_path / "report.html").read_text(encoding="utf-8")
    (code,) = re.findall(r'id="plotly">([^<]*)<', whole)
    assert gzip.decompress(base64.b64decode(code)) == plotly_js().encode()


def test_text_from_outside_stays_text(tmp_path: Path, results: Results) -> None:
    bad = "</script><script>alert(1)</script><img src=x>"
    found = results({bad: 3.9})
    table = found[0].evaluations.assign(role=bad)
    found[0] = dataclasses.replace(found[0], evaluations=table)
    page = written(tmp_path / "r.html", found, title=bad, facts={bad: bad})
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_one_control_alone(tmp_path: Path, results: Results) -> None:
    page = written(tmp_path / "r.html", results({})[1:2])
    assert "one step" in page
    assert "<h2>Schedules" not in page
    assert "<h2>Best FID" not in page


def test_several_lengths_and_a_single_step(tmp_path: Path, results: Results) -> None:
    one = dataclasses.replace(
        results({"tpe": 9.0})[0], strategy=GenerationStrategy((), (), (0.8,), (0.0,)), samples=None
    )
    page = written(
        tmp_path / "r.html", [one, *results({"tpe": 3.9}), *results({"tpe": 5.0}, steps=4)[:2]]
    )
    for steps in (1, 4, 8):
        assert f"<h3>T = {steps}</h3>" in page


def test_no_number_comes_last_and_is_named(tmp_path: Path, results: Results) -> None:
    found = [
        dataclasses.replace(r, value=math.nan, standard_error=None, values=(math.nan,) * 5)
        for r in results({"tpe": 3.9})
    ]
    page = written(tmp_path / "r.html", found)
    assert "No method gave a number" in page
    assert ">best</td>" not in page
    assert ">best</td>" in written(tmp_path / "r.html", results({"tpe": 3.9}))
    page = written(tmp_path / "r.html", [*found[:1], *results({})])
    assert page.index("more remask noise</td>") < page.index("tpe</td>")
    assert "no number" in page


def test_final_tests_that_differ_are_called_incomparable(tmp_path: Path, results: Results) -> None:
    found = results({"tpe": 3.9})
    found[0] = dataclasses.replace(found[0], test_images=500)
    assert "Numbers depend on n" in written(tmp_path / "r.html", found)
    assert "Numbers depend on n" not in written(tmp_path / "r.html", found[1:])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (4.29731, 0.0161, "4.297 ± 0.016"),
        (18.2, 1.26, "18.2 ± 1.3"),
        (1234.5, 40.0, "1,234 ± 40"),
        (3.96, None, "3.960"),
        (3.96, 0.0, "3.960"),
        (math.nan, 0.1, "no number"),
        (math.inf, None, "no number"),
    ],
)
def test_numbers_with_their_errors(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_column_has_equal_decimals(tmp_path: Path, results: Results) -> None:
    found = results({"tpe": 3.9, "gp": 4.1})
    found[1] = dataclasses.replace(found[1], value=18.0, standard_error=1.3)
    found[2] = dataclasses.replace(found[2], standard_error=None)
    decimals = common_decimals(found)
    page = written(tmp_path / "r.html", found)
    column = re.findall(r'<td class="number">([\d.,]+)(?:\xa0±\xa0([\d.,]+))?</td><td>', page)
    assert len(column) == len(found)
    assert {len(text.partition(".")[2]) for pair in column for text in pair if text} == {decimals}
    single = dataclasses.replace(found[0], value=0.00123, standard_error=None)
    assert common_decimals([single]) == 6
    assert common_decimals([dataclasses.replace(single, value=math.nan)]) == 2


def test_differences_know_the_noise(results: Results) -> None:
    best = dataclasses.replace(results({})[0], value=4.0, standard_error=0.03)

    def above(fid: float, error: float | None) -> str:
        return difference(dataclasses.replace(best, value=fid, standard_error=error), best)

    assert difference(best, best) == "best"
    assert above(4.09, 0.04) == "+0.090, inside the noise"
    assert above(4.12, 0.04) == "+0.120"
    assert above(4.12, None) == "+0.12, error unknown"
    assert above(math.nan, None) == "–"
    exact = dataclasses.replace(best, standard_error=0.0)
    assert difference(dataclasses.replace(exact, value=5.0), exact) == "+1"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"beta": 0.7, "alpha": 0.3}, "The importance of each searched parameter"),
        ("a model of 14 coefficients needs 21", "Not shown: a model of 14 coefficients needs 21."),
    ],
)
def test_sensitivity_or_importance_or_why_not(
    tmp_path: Path, results: Results, told: object, words: str
) -> None:
    page = written(tmp_path / "r.html", results({"tpe": 3.9}), sensitivity=told)
    assert words in re.sub(r"\s+", " ", page)
    assert "Sensitivity of the winner" not in written(tmp_path / "r.html", results({"tpe": 3.9}))


def test_bad_calls_are_one_line(tmp_path: Path, results: Results) -> None:
    path = tmp_path / "r.html"
    found = results({"tpe": 3.9})
    with pytest.raises(ValueError, match="at least one result"):
        written(path, [])
    with pytest.raises(ValueError, match="expected one result of tpe, T = 8, got two"):
        written(path, [found[0], found[0]])
    with pytest.raises(ValueError, match=r"report .*absent.*: No such file or directory"):
        written(tmp_path / "absent" / "r.html", found)
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_replaced_whole_or_not_at_all(
    tmp_path: Path, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.html"
    path.write_text("the old one")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="No space left"):
        written(path, results({}))
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]
