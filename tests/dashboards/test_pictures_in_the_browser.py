"""The pictures of a report in a real browser: the film, and sheets that a click enlarges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from dashboards.report import write_report
from tests.browser import Browser, browser, needs_browser
from tests.dashboards.conftest import compared
from trials.objectives.pictures import ClassGrid, Film

pytestmark = needs_browser

CLASSES = tuple("0123456789")
STEPS = 8


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with the report of two searches, which have films."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (STEPS, 10, 8, 8), np.uint8)
    counts = np.linspace(64, 0, STEPS + 1)[1:]
    masked = np.arange(64) < counts[:, None, None]
    film = Film(frames, np.repeat(masked, 10, axis=1), (8, 8), CLASSES)
    results = [
        dataclasses.replace(r, film=film, sample_classes=CLASSES)
        for r in compared({"tpe": 3.9, "cmaes": 4.0}, images=40)
    ]
    real = ClassGrid(rng.integers(0, 255, (4, 10, 8, 8), np.uint8), CLASSES)
    file = folder / "report.html"
    write_report(file, results, title="Digits", tokens=64, facts={}, real_images=real)
    assert file.stat().st_size < 1_500_000
    with browser(folder / "profile") as found:
        found.open(file.as_uri())
        yield found


def stages(page: Browser) -> list[str]:
    """What is written below the large pictures."""
    captions = page.driver.find_elements("css selector", ".stage figcaption")
    return [caption.text for caption in captions]


def test_a_film_steps_by_slider_and_by_click(page: Browser) -> None:
    assert stages(page) == ["step 1: 8 of 64 kept"] * 2
    slide = "const s = document.querySelector('.slider input'); s.value = 3;"
    page.driver.execute_script(slide + "s.dispatchEvent(new Event('input'));")
    assert stages(page) == ["step 3: 24 of 64 kept"] * 2
    frames = page.driver.find_elements("css selector", ".frames button")
    assert len(frames) == 2 * STEPS
    page.driver.execute_script("arguments[0].click()", frames[-1])
    assert stages(page) == ["step 8: 64 of 64 kept"] * 2
    assert page.driver.find_element("css selector", ".slider output").text == "8 of 8"


def test_a_sheet_is_enlarged_with_its_classes_and_closed_again(page: Browser) -> None:
    sheets = page.driver.find_elements("css selector", ".samples .sheet")
    assert str(sheets[0].get_attribute("aria-label")) == "Enlarge: real images"
    page.driver.execute_script("arguments[0].click()", sheets[1])
    enlarged = page.driver.find_element("css selector", "dialog")
    assert enlarged.is_displayed()
    assert enlarged.text.split()[1:11] == [*CLASSES]
    assert enlarged.find_element("css selector", "img").size["width"] > 900
    enlarged.find_element("css selector", "form button").click()
    assert not enlarged.is_displayed()


def test_it_fits_a_telephone_and_prints_the_strips_alone(page: Browser) -> None:
    narrow = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    wide = (
        "return Math.max(...[...document.querySelectorAll('.film, .film *, .samples, .samples *')]"
    )
    assert page.driver.execute_script(f"{wide}.map(e => e.getBoundingClientRect().right))") <= 390
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].map(e => e.offsetHeight > 0)"
    assert not any(page.driver.execute_script(shown, ".stage, .slider"))
    assert all(page.driver.execute_script(shown, ".frames img"))


def test_nothing_is_asked_elsewhere_and_nothing_complains(page: Browser) -> None:
    assert page.requests_elsewhere() == []
    assert page.errors() == []
