"""The live page, MLflow and optuna-dashboard in a real browser, on a lab with two searches."""

from __future__ import annotations

import itertools
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np
import optuna
import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains

from search.strategy import GenerationStrategy
from tests.browser import Browser, browser, needs_browser
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.progress import LiveProgress
from trials.publishing.publish import publish, show_nothing
from trials.record.record import Record
from trials.record.searches import search_records
from trials.searches.launch import launch
from trials.searches.settings import GenerationSearch
from trials.tracking.mirror import Mirror

pytestmark = needs_browser

METHODS = ("random", "qmc")
MLFLOW_SAYS = "mlflow/users/current"
"""MLflow's own page asks for a user where there are none, and its console says so."""


class Sampling(SimulatedObjective):
    def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 255, (images, 8, 8), np.uint8)


class Served(NamedTuple):
    live: str
    mlflow: str
    optuna: str
    page: Browser
    lab: Lab


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A lab with two searches of two methods each, its dashboards, and a browser."""
    folder = tmp_path_factory.mktemp("served")
    lab = Lab.open(folder / "lab")
    for seed, name in enumerate(("one", "two")):
        settings = GenerationSearch(
            name=name,
            objective="simulated",
            runner="local",
            steps=3,
            optimisers=[*METHODS],
            budget=600,
            images_per_evaluation=100,
            test_images=100,
            test_seeds=[1, 2],
            seed=seed,
            lab=lab.folder,
        )
        with LiveProgress() as progress:
            assert launch(settings, resume=False, progress=progress).run.finished
        records, notes = search_records(lab.record_url, name), list[str]()
        publish(lab, name, records, Sampling, Mirror(lab), show_nothing, notes.append)
        assert notes == []
    code = "import sys; from trials.cli.entry import main; sys.argv[0] = 'autonat'; main()"
    command = [sys.executable, "-c", code, "dashboard", "--lab", str(lab.folder)]
    opened = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert opened.stdout is not None
        lines = [opened.stdout.readline() for _ in range(3)]
        live, mlflow, optuna = ("http" + line.split("http")[1].split()[0] for line in lines)
        with browser(folder / "profile") as page:
            yield Served(live, mlflow, optuna, page, lab)
    finally:
        opened.send_signal(signal.SIGTERM)
        opened.wait(60)
        if opened.stdout is not None:
            opened.stdout.close()


def test_the_printed_address_shows_all_searches_with_their_final_tests(served: Served) -> None:
    page = served.page
    page.open(served.mlflow)
    studies = [f"{search}-{method}" for search in ("one", "two") for method in METHODS]
    page.shows(*studies, "one-test", "two-test", "test_fid", "best_fid", "6 matching runs")
    page.open(f"{served.mlflow}&compareRunsMode=CHART")
    page.shows("best_fid", "test_fid")
    page.until(lambda: page.count(".js-plotly-plot .scatterlayer .trace") >= len(studies))


def test_a_run_says_what_was_found_and_leads_to_its_evaluations(served: Served) -> None:
    page, driver = served.page, served.page.driver
    page.open(served.mlflow)
    page.shows("one-random")
    driver.find_element("link text", "one-random").click()
    page.shows("random: FID", "rule of thumb", "sampling temperature")
    link = page.until(lambda: driver.find_element("css selector", "a[href*=searchFilter]"))
    assert "All evaluations of this study" in str(link.get_attribute("textContent"))
    page.open(str(link.get_attribute("href")))
    page.shows("one-random 0", "6 matching runs")
    page.open(served.mlflow)
    page.shows("one-test")
    driver.find_element("link text", "one-test").click()
    page.shows("from the best", "rule of thumb (control)")


def test_optunas_dashboard_has_notes_with_pictures(served: Served) -> None:
    page, driver = served.page, served.page.driver
    page.open(served.optuna)
    page.shows("one-random", "two-test")
    page.open(f"{served.optuna}/studies/1")
    page.shows("History", "FID")
    page.open(f"{served.optuna}/studies/1/note")
    page.shows("random: FID", "what you write below stays")
    wide = "return [...document.querySelectorAll('img')].filter(i => i.naturalWidth > 100).length"
    page.until(lambda: driver.execute_script(wide) == 2)
    page.open(f"{served.optuna}/studies/3/note")
    page.shows("This is the final test of one, not a search")


def test_the_live_page_shows_all_searches_and_leads_to_the_right_places(served: Served) -> None:
    page, driver = served.page, served.page.driver
    page.open(served.live)
    page.shows("2 done", "two", "rule of thumb", "final test", "best FID")
    page.until(lambda: page.count(".js-plotly-plot .scatterlayer .trace") >= len(METHODS))
    driver.find_element("link text", "one").click()  # shown in full, by its name in the table
    page.until(lambda: "search=one" in driver.current_url)
    article = page.until(lambda: driver.find_element("xpath", "//article[.//h2[.='one']]"))

    def address(row: str, words: str) -> str:
        where = f".//tr[contains(., '{row}')]//a[.='{words}']" if row else f".//a[.='{words}']"
        found = page.until(lambda: article.find_element("xpath", where))
        return str(found.get_attribute("href"))

    addresses = {
        "run": address("random", "MLflow"),
        "study": address("random", "Optuna"),
        "report": address("", "report"),
        "best": address("", "best.json"),
    }
    page.open(addresses["run"])
    page.shows("one-random", "random: FID")
    page.open(addresses["study"])
    page.shows("one-random", "History")
    page.open(addresses["report"])
    page.shows("Final test", "random")
    page.open(addresses["best"])
    page.shows("autonat-strategy/2")


def test_the_live_page_follows_what_comes_breaks_and_goes(served: Served) -> None:
    page, driver = served.page, served.page.driver
    page.open(f"{served.live}?search=two")
    page.shows("two", "images generated")
    zoomed = "return document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range"
    whole = page.until(lambda: driver.execute_script(zoomed))
    page.until(lambda: _zoom(driver) or driver.execute_script(zoomed) != whole)
    driver.execute_script("scrollTo(0, 120)")
    seen = driver.execute_script(zoomed)

    settings = Record.open(served.lab.record_url, "one-random").settings
    told = {**settings, "search_name": "newcomer", "optimiser": "random"}
    record = Record.create(served.lab.record_url, "newcomer-random", told)
    again = search_records(served.lab.record_url, "one")[0].evaluations
    record.add(again[0].probe, again[0].result, None)
    page.shows("newcomer", "1 interrupted")
    file = served.lab.folder / "record.db"
    with closing(sqlite3.connect(file)) as database, database:
        damage = "update study_user_attributes set value_json = '{' where key = 'settings' and "
        database.execute(f"{damage} study_id = (select max(study_id) from studies)")
    page.shows("study newcomer-random is damaged and left out")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("begin exclusive")  # as a writer does that hangs
        page.shows("database is locked")
    optuna.delete_study(study_name="newcomer-random", storage=served.lab.record_url)
    page.until(lambda: "newcomer" not in page.text() and "2 done" in page.text())

    assert driver.execute_script(zoomed) == seen
    page.until(lambda: driver.execute_script("return scrollY") == 120)


def _zoom(driver: webdriver.Chrome) -> None:
    """Draw a rectangle in the first figure, as a reader does to look closer."""
    plot = driver.find_element("css selector", ".js-plotly-plot .nsewdrag")
    drag = ActionChains(driver, duration=50).move_to_element_with_offset(plot, -200, -40)
    drag.click_and_hold().move_by_offset(60, 20).move_by_offset(100, 40).release().perform()


def test_the_live_page_is_readable_on_narrow_and_wide_screens_by_day_and_night(
    served: Served,
) -> None:
    page, driver = served.page, served.page.driver
    page.open(served.live)
    page.shows("images generated", "Done")
    fill = "return getComputedStyle(document.querySelector('.js-plotly-plot .xtitle')).fill"
    fits = "return document.documentElement.scrollWidth <= innerWidth"
    body = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    for width, scheme in itertools.product((390, 1600), ("light", "dark")):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        asked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
        page.until(lambda: driver.execute_script(fits))
        ink, paper = driver.execute_script(body)
        assert driver.execute_script(fill) == ink
        light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
        assert (light[0] - light[1] > 400) if scheme == "dark" else (light[1] - light[0] > 400)
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_no_page_asked_elsewhere_or_complained(served: Served) -> None:
    assert len(served.page.requests()) > 20
    assert served.page.requests_elsewhere() == []
    assert [said for said in served.page.errors() if MLFLOW_SAYS not in said] == []
