"""MLflow and optuna-dashboard in a real browser, on a lab with two searches."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from search.strategy import GenerationStrategy
from tests.browser import Browser, browser, needs_browser
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.progress import LiveProgress
from trials.publishing.publish import publish, show_nothing
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
    mlflow: str
    optuna: str
    page: Browser


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
        mlflow, optuna = (opened.stdout.readline().split()[1] for _ in range(2))
        with browser(folder / "profile") as page:
            yield Served(mlflow, optuna, page)
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


def test_no_page_asked_elsewhere_or_complained(served: Served) -> None:
    assert len(served.page.requests()) > 20
    assert served.page.requests_elsewhere() == []
    assert [said for said in served.page.errors() if MLFLOW_SAYS not in said] == []
