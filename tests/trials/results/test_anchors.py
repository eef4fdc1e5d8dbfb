"""What stands beside the FIDs: measured once, kept in the record, and said where it matters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.cautions import warnings
from models.metrics.reference_statistics import read_reference
from search.controls import CONSTANT_IMAGE, REAL_IMAGES
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.digits import DigitsObjective
from trials.objectives.images import ImagesObjective
from trials.objectives.objective import Anchors
from trials.record.record import Record
from trials.results.anchors import Anchor, note_anchors
from trials.results.results import MethodResult

Autonat = Callable[..., tuple[int, str, str]]
FOUR = GenerationStrategy.maskgit(4)
OWN = """
from search.measurement import Measurement

class Blank:
    tokens = 16
    def describe(self):
        return {}
    def evaluate(self, strategy, images, seed):
        fid = 30.0 + seed % 7 / 100
        return Measurement(fid, 0.1, images, strategy.forward_passes(), 0.0, spread=0.012)
    def anchors(self, images):
        return {"real images": 100 / images, "constant image": 15.9}

class Silent(Blank):
    anchors = None

class Broken(Blank):
    def anchors(self, images):
        raise RuntimeError("no real images here")

class Odd(Blank):
    def anchors(self, images):
        return {"real images": float("nan")}
"""


def search(autonat: Autonat, name: str, *more: str) -> tuple[int, str, str]:
    Path("mine.py").write_text(OWN)
    words = f"search --objective mine:{name} --name {name} --runner local --steps 2 --images 50"
    words += " --budget 150 --optimiser random --test-images 200 --test-seeds 5"
    return autonat(*words.split(), *more)


def test_they_stand_in_every_table_and_a_collapse_is_said(autonat: Autonat) -> None:
    code, out, _ = search(autonat, "Blank", "--json")
    assert code == 0
    told = json.loads(out)
    assert {a["name"]: (a["fid"], a["images"]) for a in told["anchors"]} == {
        "real images": (0.5, 200),
        "constant image": (15.9, 200),
    }
    assert told["warnings"][0].startswith("The winner's images hardly differ from each other")
    assert "1.2 % of that of the real images" in told["warnings"][0]
    assert told["warnings"][-1].startswith("No strategy here is better than one repeated image")
    page = Path("autonat-lab/results/Blank/report.html").read_text()
    code, table, _ = autonat("compare", "Blank")
    for text in (page, table):
        for words in ("real images", "constant image", "hardly differ", "± of one seed"):
            assert words in text
    assert table.index("real images") < table.index("constant image") < table.index("Blank/random")
    test = StrategyFile.read(Path("autonat-lab/results/Blank/best.json")).test
    assert test is not None
    assert (test.standard_error, test.standard_error_from) == (0.1, "measurement")
    assert json.loads(out)["results"][0]["fid_se"] == 0.1


def test_they_are_measured_once(autonat: Autonat) -> None:
    assert search(autonat, "Blank")[0] == 0
    file = Path("mine.py")
    file.write_text(OWN.replace("15.9", "99.0"))
    assert autonat("report", "Blank")[0] == 0
    assert "15.9" in autonat("compare", "Blank")[1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Silent", ""),
        ("Broken", "no real images here"),
        ("Odd", "expected a finite value for 'real images', got nan"),
    ],
)
def test_an_objective_without_them_loses_nothing(autonat: Autonat, name: str, reason: str) -> None:
    code, out, err = search(autonat, name)
    assert code == 0
    assert "constant image:" not in out
    assert reason in err
    assert ("note: " in err) == bool(reason)
    assert Path(f"autonat-lab/results/{name}/best.json").exists()


def test_digits_lie_between_real_images_and_a_constant_one(trained: DigitsObjective) -> None:
    assert isinstance(trained, Anchors)
    found = trained.anchors(1000)
    measured = trained.evaluate(FOUR, 1000, 1)
    assert 1 < found[REAL_IMAGES] < measured.value < found[CONSTANT_IMAGE]
    assert found[CONSTANT_IMAGE] == pytest.approx(93.1, abs=0.1)
    assert measured.spread is not None
    assert 0.4 < measured.spread < 2


def test_images_know_it_from_their_reference(
    trained_images: ImagesObjective, image_settings: dict[str, Any]
) -> None:
    found = trained_images.anchors(100)
    mean = read_reference(image_settings["reference"]).mean_image
    assert mean is not None
    assert mean.shape == (3, 16, 16)
    assert 0 < found[REAL_IMAGES] < found[CONSTANT_IMAGE]
    assert found[REAL_IMAGES] == pytest.approx(
        2 * trained_images.anchors(300)[REAL_IMAGES], rel=0.5
    )


def result(method: str, fid: float, spread: float | None) -> MethodResult:
    import pandas as pd

    made = MethodResult(
        method, FOUR, fid, 0.1, (fid,), 100, (1,), 8, None, 0, 0.0, None, pd.DataFrame(), None
    )
    return dataclasses.replace(made, spread=spread)


def test_nothing_is_said_of_images_that_differ() -> None:
    anchors = [Anchor(REAL_IMAGES, 0.7, 100), Anchor(CONSTANT_IMAGE, 16.0, 100)]
    good = [result("tpe", 5.0, 0.8), result("one step", 40.0, 3.0), result("random", 6.0, None)]
    assert warnings(good, anchors) == []
    assert len(warnings([*good, result("cold", 20.0, 0.1)], anchors)) == 1
    assert "The images of cold hardly" in warnings([*good, result("cold", 20.0, 0.1)], anchors)[0]
    assert warnings([result("tpe", float("nan"), None)], anchors) == []


def test_old_records_have_none_and_can_be_given_them(autonat: Autonat) -> None:
    assert search(autonat, "Silent")[0] == 0
    record = Record.open(Lab.open(Path("autonat-lab")).record_url, "Silent-test")
    assert record.anchors is None

    class Knows:
        def anchors(self, images: int) -> dict[str, float]:
            return {REAL_IMAGES: 1.0}

    note_anchors([record], Knows())  # type: ignore[arg-type]
    again = Record.open(Lab.open(Path("autonat-lab")).record_url, "Silent-test")
    assert again.anchors == {REAL_IMAGES: 1.0}
