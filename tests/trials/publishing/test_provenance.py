"""What a report says of itself: complete or not, and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

Autonat = Callable[..., tuple[int, str, str]]
CUT = """
from pathlib import Path
from search.measurement import Measurement

class Cut:
    tokens = 16
    def describe(self):
        return {}
    def evaluate(self, strategy, images, seed):
        with open("calls", "a") as file:
            file.write(".")
        if seed == FAILS:
            raise RuntimeError("no memory")
        if len(Path("calls").read_text()) == STOPS:
            raise KeyboardInterrupt
        return Measurement(float(seed % 97), None, images, strategy.forward_passes(), 0.0)
"""
SEARCH = (
    *("search", "--objective", "cut:Cut", "--runner", "local", "--steps", "2", "--name", "c"),
    *("--optimisers", "random", "--budget", "400", "--images-per-evaluation", "100"),
    *("--test-images", "100", "--test-seeds", "1"),
)


def words(page: Path) -> str:
    """The text of a page, without scripts, styles and tags."""
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_search_whose_test_failed_says_how_it_is_measured_again(autonat: Autonat) -> None:
    Path("cut.py").write_text(f"FAILS, STOPS = 7, None\n{CUT}")
    assert autonat(*SEARCH[:-1], "1,7")[0] == 0
    told = words(Path("autonat-lab/results/c/report.html"))
    assert "is not finished" not in told
    assert (
        "The final test of random failed under a seed. autonat search --resume c --retry-failed "
        "measures it again" in told
    )


def test_an_unfinished_search_says_so_and_shows_what_there_is(autonat: Autonat) -> None:
    Path("cut.py").write_text(f"FAILS, STOPS = None, 3\n{CUT}")
    assert autonat(*SEARCH)[0] == 130
    assert autonat("report", "c")[0] == 0
    page = Path("autonat-lab/results/c/report.html")
    assert (
        "This search is not finished: 2 of 4 evaluations are done and no final test of random has "
        "a number. autonat search --resume c" in words(page)
    )
    assert autonat("search", "--resume", "c", "--runner", "local")[0] == 0
    finished = words(page)
    assert "is not finished" not in finished
    for told in ("Provenance", "c-random", "autonat report c", "best.json"):
        assert told in finished
    assert '"format": "autonat-strategy/2"' in finished.replace("&#34;", '"')
