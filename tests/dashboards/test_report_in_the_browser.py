"""The report in a real browser, at the widths of a phone and of a screen, in light and dark."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dashboards.report import Searches, write_report
from search.controls import CONSTANT_IMAGE, REAL_IMAGES
from search.measurement import AtImages
from search.sensitivity import Change, Sensitivity
from tests.browser import Browser, browser, needs_browser
from tests.dashboards.conftest import compared
from trials.results.anchors import Anchor
from trials.results.results import MethodResult

pytestmark = needs_browser

LOOKS = [(390, False), (390, True), (1600, False), (1600, True)]
MOVED = Change(1.0, 2.0, 0.3, 0.1, 0.5)


class Opened(NamedTuple):
    address: str
    results: list[MethodResult]
    page: Browser
    folder: Path


def with_everything() -> list[MethodResult]:
    """Results with schedules in their evaluations, and values at several n."""
    found = []
    for result in compared({"coarse-to-fine": 3.9, "tpe": 4.2}, steps=4):
        at = [(math.inf, -0.3), (2000, 0.0), (1000, 0.3), (500, 0.9)]
        over = tuple(AtImages(n, result.value + more, 0.1) for n, more in at)
        values = result.strategy.parameters() if result.searched else {}
        table = result.evaluations.assign(**values)
        found.append(dataclasses.replace(result, over_images=over, evaluations=table))
    return found


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("report")
    results = with_everything()
    file = write_report(
        folder / "report.html",
        results,
        title="autonat: one",
        tokens=64,
        facts={"objective": "digits", "checkpoint": "sha256:" + "0123456789abcdef" * 4},
        anchors=[Anchor(REAL_IMAGES, 1.2, 2000), Anchor(CONSTANT_IMAGE, 90.0, 2000)],
        provenance={"studies": ", ".join(f"one-{r.method}" for r in results)},
        strategy_file="{}",
        sensitivity=Sensitivity(
            {"mask_ratio": (MOVED,) * 3, "guidance_scale": (MOVED,) * 4},
            {"mask_ratio": (MOVED,) * 3, "guidance_scale": (None,) * 4},
            0.8,
            100,
        ),
    )
    named = [dataclasses.replace(r, search=s) for s in ("one", "two") for r in results[:2]]
    write_report(
        folder / "both.html",
        [*named, *results[2:]],
        title="autonat: one and two",
        tokens=64,
        facts={},
        searches=Searches(
            ("one", "two"),
            {"one": "report.html"},
            {"search seed": ("0", "1")},
            {"tpe": [named[1], named[3]]},
        ),
    )
    with browser(folder / "profile") as page:
        yield Opened(f"file://{file}", results, page, folder)


def shown(page: Browser, address: str) -> Browser:
    """Open a page, unless it is open, and wait for all its figures."""
    if page.driver.current_url != address:
        page.open(address)
    page.until(lambda: page.count(".figure .xaxislayer-above") >= page.count(".figure") > 0)
    return page


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_it_is_readable(opened: Opened, width: int, dark: bool) -> None:
    opened.page.look(width, dark)
    page, script = shown(opened.page, opened.address), opened.page.driver.execute_script
    page.shows("50 of 192 evaluations are shown")
    # Panels are below each other on a phone.
    panels = "return [...document.querySelectorAll('.figure')].map(f => f._fullLayout.xaxis.domain)"
    page.until(lambda: all(d == [0, 1] for d in script(panels)) == (width == 390))
    assert script("return document.documentElement.scrollWidth") <= width
    ink = script("return getComputedStyle(document.querySelector('.figure text')).fill")
    assert (ink == "rgb(228, 230, 233)") == dark
    inside = "return [...document.querySelectorAll('.figure text')].every(t => {" + (
        "const b = t.getBoundingClientRect(); return b.left >= 0 && b.right <= innerWidth; })"
    )
    page.until(lambda: script(inside))


def test_evaluations_are_sorted_and_saved(opened: Opened) -> None:
    page, driver = shown(opened.page, opened.address), opened.page.driver
    page.shows("50 of 192")
    column = (
        "return [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[2].innerText)"
    )
    lowest = [float(text) for text in driver.execute_script(column)]
    assert lowest == sorted(lowest)
    heading = (
        "return [...document.querySelectorAll('#table th button')].find(b => b.innerText == 'FID')"
    )
    driver.execute_script(f"({heading.replace('return ', '() => ')})().click()")
    highest = [float(text) for text in driver.execute_script(column)]
    assert highest == sorted(highest, reverse=True)
    assert highest[0] > lowest[-1]
    allowed = {"behavior": "allow", "downloadPath": str(opened.folder)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
    driver.find_element("id", "save").click()
    saved = opened.folder / "evaluations.csv"
    page.until(saved.exists, 10)
    rows = list(csv.DictReader(saved.read_text().splitlines()))
    tables = [result.evaluations for result in opened.results if result.searched]
    assert len(rows) == sum(map(len, tables))
    first = opened.results[0].evaluations.iloc[1]
    assert float(rows[1]["fid"]) == pytest.approx(first["fid"])
    assert float(rows[1]["mask_ratio_2"]) == pytest.approx(first["mask_ratio_2"])


def test_it_prints_at_the_width_of_its_paper(opened: Opened) -> None:
    opened.page.look(390)
    page = shown(opened.page, opened.address)
    printed = page.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(printed["data"]) > 10_000
    widths = "return [...document.querySelectorAll('.figure')].map(f => f._fullLayout.width)"
    page.until(lambda: max(page.driver.execute_script(widths)) <= 390)


def test_a_report_of_several_searches_leads_to_theirs(opened: Opened) -> None:
    page = shown(opened.page, opened.address.replace("report.html", "both.html"))
    page.shows("Where the searches differ", "Over search seeds")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    page.driver.find_element("link text", "one").click()
    page.shows("Sensitivity of the winner")
    assert page.driver.current_url == opened.address


def test_no_page_asked_elsewhere_or_complained(opened: Opened) -> None:
    assert opened.page.requests()
    assert opened.page.requests_elsewhere() == []
    assert opened.page.errors() == []
