"""Several searches in one table: whose a row is, and what stands there once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import run_in
from tests.options import laid_over

Autonat = Callable[..., tuple[int, str, str]]
SMALL = (
    *("search", "--objective", "simulated", "--runner", "local", "--steps", "2"),
    *("--budget", "400", "--images", "100", "--test-images", "200"),
    *("--control", "rule of thumb"),
)


MINE = """
from search.measurement import Measurement

class Mine:
    tokens = 16
    def __init__(self, *, metric="fid"):
        self.metric = metric
    def describe(self):
        return {"dataset": "mine", "protocol": {"metric": self.metric}}
    def evaluate(self, strategy, images, seed):
        passes = strategy.forward_passes()
        return Measurement(seed % 7 - 3.0, None, images, passes, 0.0, metric=self.metric)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with the search A."""
    folder = tmp_path_factory.mktemp("made")
    run_in(folder, *SMALL, "--optimiser", "tpe", "--name", "A")
    return folder / "autonat-lab"


@pytest.fixture
def beside(autonat: Autonat, made: Path) -> Autonat:
    """The command line, where the lab has the search A."""
    shutil.copytree(made, "autonat-lab")
    return autonat


def rows(text: str) -> list[tuple[str | None, str]]:
    return [(row.get("search"), row["method"]) for row in json.loads(text)["results"]]


def test_a_row_has_the_name_of_its_search_and_a_common_control_has_none(beside: Autonat) -> None:
    autonat = beside
    assert autonat(*SMALL, "--optimiser", "tpe", "--name", "B", "--seed", "1")[0] == 0
    code, out, _ = autonat("compare", "A", "B", "--json")
    assert code == 0
    assert rows(out) == [("A", "tpe"), (None, "rule of thumb"), ("B", "tpe")]
    code, out, _ = autonat("compare", "A", "B")
    assert code == 0
    for words in ("A/tpe", "B/tpe", "rule of thumb (control)"):
        assert out.count(words) == 1
    assert "compare only rows of one test" not in out
    code, out, _ = autonat("report", "A", "B")
    assert (code, Path(out.strip()).name) == (0, "A+B.html")
    page = page_of("A+B")
    for told in ("A/tpe", "B/tpe", "Over search seeds", "search seed 0 1", "autonat report A B"):
        assert told in page


@pytest.mark.parametrize(
    "other", [("--test-seeds", "7,8"), ("--test-images", "150"), ("--control", "one step")]
)
def test_controls_that_differ_have_the_name_of_their_search(
    beside: Autonat, other: tuple[str, str]
) -> None:
    autonat = beside
    words = laid_over(SMALL[1:], "--optimiser", "tpe", "--name", "B", *other)
    assert autonat("search", *words)[0] == 0
    code, out, _ = autonat("compare", "A", "B", "--json")
    assert code == 0
    assert [search for search, _ in rows(out)] == ["A", "A", "B", "B"]
    code, out, _ = autonat("compare", "A", "B")
    assert ("compare only rows of one test" in out) == ("--control" not in other)


def test_two_protocols_share_no_table(beside: Autonat) -> None:
    autonat = beside
    words = "search --objective tabulated --runner local --images 250 --budget 500"
    assert autonat(*words.split(), "--optimiser", "tpe", "--name", "B")[0] == 0
    code, out, err = autonat("compare", "A", "B")
    assert (code, out) == (2, "")
    said = "B and A have different protocols of FID: their numbers cannot be compared"
    assert err.splitlines()[-1] == f"autonat: {said}"


def test_two_metrics_share_no_table(autonat: Autonat) -> None:
    Path("mine.py").write_text(MINE)
    for metric in ("kid", "missed"):
        words = laid_over(SMALL[1:], "--objective", "mine:Mine", "--set", f"metric={metric}")
        assert autonat("search", *words, "--optimiser", "random", "--name", metric)[0] == 0
    code, out, err = autonat("compare", "kid", "missed")
    assert (code, out) == (2, "")
    said = "kid was measured in KID, missed in missed: their numbers cannot be compared"
    assert err.splitlines()[-1] == f"autonat: {said}"
    assert "final test KID" in autonat("compare", "kid")[1]


def page_of(name: str) -> str:
    """The words of a report in the results of the lab."""
    page = Path(f"autonat-lab/results/{name}.html").read_text()
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())
