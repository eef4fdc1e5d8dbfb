"""`import autonat`: what docs/python.md and the notebook show, and what is said where it fails."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import autonat
from trials.objectives.simulated import SimulatedObjective

DOCS = Path(__file__).parents[1] / "docs"
SMALL: dict[str, Any] = {
    "steps": 2,
    "budget": 400,
    "images_per_evaluation": 100,
    "test_images": 100,
    "optimisers": ["random"],
    "runner": "local",
    "progress": False,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_page_shows_runs(capfd: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "python.md").read_text()
    there: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, there)  # noqa: S102 - our own page
    out, err = capfd.readouterr()
    assert err == "", "without progress nothing is said on the way"
    assert "search first in" in out
    assert "'annealing'" in out
    assert {"schedules", "search", "final test"} == there["figures"].keys()
    assert set(there["table"]["method"]) == {"random", "coarse-to-fine"}


def test_the_notebook_runs() -> None:
    cells = json.loads((DOCS / "first_search.ipynb").read_text())["cells"]
    there: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), there)  # noqa: S102 - our own notebook
    assert Path("best.json").exists()


DOTS = """
import autonat
import numpy as np

class Dots:
    tokens = 16
    def describe(self):
        return {"dataset": "dots"}
    def evaluate(self, strategy, images, seed):
        return autonat.Measurement(float(seed % 97), None, images, strategy.forward_passes(), 0.0)
    def sample(self, strategy, images, seed):
        shown = np.zeros((images, 4, 4), np.uint8)
        shown[:, 0, : strategy.steps] = 200 + seed
        return shown
"""


@pytest.mark.long
def test_an_instance_is_searched_on_ray_and_shows_its_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers get its module, which lies beside the script."""
    (folder / "dots.py").write_text(DOTS)
    monkeypatch.syspath_prepend(str(folder))
    dots = importlib.import_module("dots").Dots()
    found = autonat.search(dots, name="dots", **(SMALL | {"runner": "ray", "workers": 1}))
    images = found.sample(3, seed=5)
    assert images.shape == (3, 4, 4)
    assert (images == 205).sum() == 3 * found.best.steps
    assert (autonat.load("dots").sample(3, seed=5) == images).all()


def test_an_interrupted_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    class Cut:
        tokens = 16

        def describe(self) -> dict[str, Any]:
            return {}

        def evaluate(
            self, strategy: autonat.GenerationStrategy, images: int, seed: int
        ) -> autonat.Measurement:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            passes = strategy.forward_passes()
            return autonat.Measurement(float(seed % 97), None, images, passes, 0.0)

    with pytest.raises(KeyboardInterrupt):
        autonat.search(Cut(), name="cut", **SMALL)
    assert "schedules" in autonat.load("cut").figures()  # there is no best.json yet
    found = autonat.search(Cut(), name="cut", resume=True, **SMALL)
    assert len(found.dataframe()) == 4
    assert calls == 4 + 1 + 9, "what was measured before is not measured again"
    assert autonat.load("cut").best == found.best


def test_a_search_without_a_name_is_found_again_by_its_settings() -> None:
    settings = SMALL | {"optimiser_settings": {"random": {"max_in_flight": 3}}}
    first = autonat.search("simulated", **settings)
    again = autonat.search("simulated", resume=True, **settings)
    assert again.name == first.name
    assert again.best == first.best
    by_name = autonat.search(resume=True, name=first.name, lab=settings.get("lab", "autonat-lab"))
    assert by_name.best == first.best  # its objective, too, is that of the record
    for given, line in (
        ({"seeds": [2**31]}, "seeds: .* got 2147483648; searches use larger ones"),
        ({"images": 500.0}, "images: expected a whole number above 0, got 500.0"),
        ({"seeds": 7}, "seeds: expected a list of whole numbers, got 7"),
        ({"seeds": [1.5]}, r"seeds: expected seeds in \[0, 2\*\*31\), got 1.5"),
        ({"images": 0}, "images: expected a whole number above 0, got 0"),
    ):
        with pytest.raises(ValueError, match=line):
            autonat.evaluate(first.best, "simulated", progress=False, **given)
    for word in ("metric", "image"):
        with pytest.raises(ValueError, match=f"{word}: expected no settings beside an instance of"):
            autonat.evaluate(first.best, SimulatedObjective(), progress=False, **{word: 3})
    with pytest.raises(ValueError, match="strategy: expected a strategy, a strategy file or its"):
        autonat.evaluate(None, "simulated")
    with pytest.raises(ValueError, match="resume: expected True or False, got 'first'; name="):
        autonat.search("simulated", resume="first")


class Deep:
    """It keeps one of its settings where everybody sees it, and hides the other."""

    tokens = 16

    def __init__(self, *, depth: float = 1.0, metric: str = "fid") -> None:
        self.depth, self.hidden = depth, metric

    def describe(self) -> dict[str, Any]:
        return {"protocol": {"metric": self.hidden}}

    def evaluate(
        self, strategy: autonat.GenerationStrategy, images: int, seed: int
    ) -> autonat.Measurement:
        value, passes = self.depth + seed % 97, strategy.forward_passes()
        return autonat.Measurement(value, None, images, passes, 0.0, metric=self.hidden)


def test_settings_of_an_instance_are_recorded_as_far_as_it_shows_them() -> None:
    found = autonat.search(Deep(depth=50.0), name="deep", **SMALL)
    assert found.strategy_file.objective["settings"] == {"depth": 50.0}
    test = autonat.evaluate(found.strategy_file, images=100, seeds=[7], progress=False)
    assert test.value == 57.0
    with pytest.raises(ValueError, match=r"search deep was made with .*depth = 50.0, not 2.0"):
        autonat.search(Deep(depth=2.0), name="deep", resume=True, **SMALL)


def test_what_an_instance_hides_is_not_measured_otherwise_in_silence() -> None:
    found = autonat.search(Deep(metric="kid"), name="kid", **SMALL)
    assert {"kid", "kid_se"} <= set(found.dataframe().columns)
    assert found.figures()["final test"].layout.xaxis.title.text == "KID of the final test"
    line = "measures differently: protocol.metric = 'kid', not 'fid'; give it as objective="
    with pytest.raises(ValueError, match=line):
        autonat.evaluate(found.strategy_file, images=100, seeds=[7], progress=False)
    test = autonat.evaluate(
        found.strategy_file, Deep(metric="kid"), images=100, seeds=[7], progress=False
    )
    assert test.metric == "kid"


@pytest.mark.parametrize(
    ("objective", "settings", "line"),
    [
        ("nothing", {}, "objective = 'nothing' is unknown; known: digits"),
        ("simulated", {"step": 3}, r"step: unknown \(did you mean steps\?\); known: "),
        ("simulated", {"steps": 0}, "steps: "),
        (object(), {}, "objective builtins:object lacks the method evaluate"),
        (Deep, {}, "expected an instance, got the class Deep; give Deep"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(
    objective: Any, settings: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        autonat.search(objective, **(SMALL | settings))
    assert "\n" not in str(caught.value)
    assert not Path("autonat-lab/record.db").exists()


def test_a_lab_without_that_search_lists_its_own() -> None:
    with pytest.raises(
        ValueError, match="no search 'x' in .*, which has no searches yet; autonat search"
    ):
        autonat.load("x")
    with pytest.raises(
        ValueError, match="expected one for a strategy that is not from a file, got none"
    ):
        autonat.evaluate(autonat.GenerationStrategy.maskgit(2))


def test_names_are_imported_when_they_are_asked_for() -> None:
    code = (
        "import sys, autonat\n"
        "assert not {'torch', 'ray', 'mlflow', 'optuna', 'numpy'} & set(sys.modules)\n"
        "assert 'search' in dir(autonat)\n"
        "autonat.GenerationStrategy\n"
        "assert not {'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in autonat.PLACES:
        assert getattr(autonat, name) is not None
    with pytest.raises(AttributeError, match="autonat has no 'studies'; it has: CONTROLS"):
        _ = autonat.studies
