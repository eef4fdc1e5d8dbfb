"""A real browser for tests of pages: Debian's chromium, driven by selenium.

A machine without it skips these tests and says how to install it; `make browser` does so.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no chromium: apt-get install -y chromium chromium-driver",
)
LOOPBACK = ("http://127.0.0.1", "http://localhost", "file:", "data:", "blob:", "about:", "chrome")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""Chromium asks nobody for anything by itself."""


class Browser:
    """A browser that notes what its pages asked for and what they complained of.

    Attributes:
        driver: selenium's.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._asked: list[str] = []

    def open(self, address: str) -> None:
        """Go to an address, also where only the part after # differs."""
        self.driver.get("about:blank")
        self.driver.get(address)

    def look(self, width: int, dark: bool = False) -> None:
        """Show pages at that width in pixels, in light or dark colours; below 600 as on a phone."""
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def until(self, found: Callable[[], T], seconds: float = 60) -> T:
        """What `found` gives, as soon as that is something."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if value := found():
                    return value
            except WebDriverException:  # the page is being drawn
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not on the page after {seconds} s:\n{self.text()[:2000]}")
            time.sleep(0.2)

    def text(self) -> str:
        """What a reader sees of the page."""
        return str(self.driver.execute_script("return document.body.innerText"))

    def shows(self, *words: str) -> None:
        """Wait until all of these are on the page."""
        self.until(lambda: all(word in self.text() for word in words))

    def count(self, css: str) -> int:
        """How many elements of the page match."""
        return int(self.driver.execute_script(f"return document.querySelectorAll({css!r}).length"))

    def requests(self) -> list[str]:
        """Addresses that its pages asked for, from the beginning."""
        for entry in self.driver.get_log("performance"):
            message: dict[str, Any] = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._asked.append(message["params"]["request"]["url"])
        return self._asked

    def requests_elsewhere(self) -> list[str]:
        """Those of them that left this machine."""
        return [address for address in self.requests() if not address.startswith(LOOPBACK)]

    def errors(self) -> list[str]:
        """What its pages said of errors since the last call."""
        found = self.driver.get_log("browser")
        return [entry["message"] for entry in found if entry["level"] == "SEVERE"]


@contextmanager
def browser(profile: Path, width: int = 1600, height: int = 1000) -> Iterator[Browser]:
    """A browser of its own.

    Args:
        profile: a folder that is not there yet.
        width: of the window, in pixels.
        height: of the window, in pixels.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*QUIET, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
