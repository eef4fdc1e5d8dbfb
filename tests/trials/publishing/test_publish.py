from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient

from dashboards import report
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.objective import Objective
from trials.objectives.pictures import ClassGrid, Film
from trials.objectives.simulated import SimulatedObjective
from trials.progress import LiveProgress
from trials.publishing.pictures import pictures_of
from trials.publishing.publish import Published, publish
from trials.record.searches import search_records
from trials.searches.launch import launch
from trials.searches.settings import GenerationSearch
from trials.tracking import mirror
from trials.tracking.mirror import Mirror

SEARCH: dict[str, Any] = {
    "name": "small",
    "objective": "simulated",
    "runner": "local",
    "steps": 2,
    "optimisers": ["random"],
    "budget": 300,
    "images_per_evaluation": 100,
    "test_images": 100,
    "test_seeds": [1],
}


@pytest.fixture
def searched(with_mlflow: Lab) -> Lab:
    settings = GenerationSearch(**SEARCH, lab=with_mlflow.folder)
    with LiveProgress() as progress:
        assert launch(settings, resume=False, progress=progress).run.finished
    return with_mlflow


class Seen:
    """What `publish` shows, and what lies in the results by then; its notes."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.shown, self.files = lab, 0, set[str]()
        self.notes: list[str] = []

    def show(self, published: Published) -> None:
        self.shown += 1
        self.files = {file.name for file in self.lab.results("small").iterdir()}

    def publish(self, objective: Callable[[], Objective] = SimulatedObjective) -> Published:
        records = search_records(self.lab.record_url, "small")
        runs = Mirror(self.lab)
        return publish(self.lab, "small", records, objective, runs, self.show, self.notes.append)


def sampling(give: Callable[[], object]) -> Objective:
    class Sampling(SimulatedObjective):
        def sample(self, strategy: GenerationStrategy, images: int, seed: int) -> Any:
            return give()

    return Sampling()


def raises() -> object:
    raise RuntimeError("\nno images\nin two lines")


@pytest.mark.parametrize(
    ("give", "note"),
    [
        (raises, "no samples: RuntimeError: no images"),
        (lambda: sys.exit(0), "no samples: SystemExit: 0"),
        (
            lambda: np.zeros((3, 4, 4)),
            "sample: expected a numpy array uint8 [n, H, W] or [n, H, W, 3], got float64 [3, 4, 4]",
        ),
        (lambda: np.zeros((3, 4), np.uint8), ", got uint8 [3, 4]"),
        (lambda: [[[0]]], ", got list"),
        (lambda: torch.zeros(3, 4, 4, dtype=torch.uint8), ", got Tensor"),
    ],
)
def test_samples_cost_nothing_that_was_measured(
    searched: Lab, give: Callable[[], object], note: str
) -> None:
    seen = Seen(searched)
    published = seen.publish(lambda: sampling(give))
    assert seen.shown == 1
    assert seen.files >= {"best.json", "random.json", "rule-of-thumb.json"}
    assert len(seen.notes) == 1
    assert note in seen.notes[0]
    assert "\n" not in seen.notes[0]
    assert published.report is not None
    assert published.report.exists()
    assert published.behind == 0


class Filmed(SimulatedObjective):
    """Shows grey images, and films that `frames` ends early."""

    frames = 2

    def class_grid(
        self, strategy: GenerationStrategy, columns: int, rows: int, seed: int
    ) -> ClassGrid:
        return ClassGrid(np.full((rows, 2, 8, 8), 9, np.uint8), ("cat", "dog"))

    def real_grid(self, columns: int, rows: int) -> ClassGrid:
        return ClassGrid(np.full((rows, 2, 8, 8), 99, np.uint8), ("cat", "dog"))

    def film(self, strategy: GenerationStrategy, images: int, seed: int) -> Film:
        frames = np.full((self.frames, 2, 8, 8), 9, np.uint8)
        return Film(frames, np.zeros((self.frames, 2, 64), bool), (8, 8), ("cat", "dog"))


def test_pictures_go_into_the_report_and_into_files_and_a_bad_film_costs_only_itself(
    searched: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(searched)
    published = seen.publish(Filmed)
    assert seen.notes == []
    assert published.report is not None
    page = published.report.read_text()
    assert page.count('class="strategy"') == 2
    assert page.count("2 images: real images") == 0
    assert page.count("8 images: real images") == 1
    assert page.count('title="cat"') == 1 + len(published.results)
    names = [file.name for file in pictures_of(searched, "small", "random")]
    assert names == ["schedules.png", "film.png", "samples.png", "real.png"]
    assert [f.name for f in pictures_of(searched, "small", "rule of thumb")] == [
        "samples.png",
        "real.png",
    ]
    monkeypatch.setattr(Filmed, "frames", 1)
    published = seen.publish(Filmed)
    (note,) = seen.notes
    assert "does not show how images form: ValueError: film: expected a frame for each" in note
    assert published.report is not None
    page = published.report.read_text()
    assert "How an image forms" not in page
    names = [file.name for file in pictures_of(searched, "small", "random")]
    assert names == ["schedules.png", "samples.png", "real.png"]
    assert "<h2>Samples" in page


def test_neither_does_a_report_an_objective_that_is_gone_or_mlflow(
    searched: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise KeyError("unforeseen")

    for record in search_records(searched.record_url, "small"):
        Mirror(searched).sync(record)
    monkeypatch.setattr(report, "write_report", broken)
    monkeypatch.setattr(MlflowClient, "log_artifact", broken)
    seen = Seen(searched)
    published = seen.publish(broken)  # type: ignore[arg-type]
    assert published.report is None
    assert StrategyFile.read(published.best).test is not None
    assert [note.partition(" (test_publish.py")[0] for note in seen.notes[:2]] == [
        "the report has no samples, because the objective could not be made again: "
        "KeyError: 'unforeseen'",
        "the report could not be written: KeyError: 'unforeseen'",
    ]
    assert len(seen.notes) == 3
    assert seen.notes[2].startswith("tracking ")


def test_results_that_cannot_be_written_are_shown_all_the_same(searched: Lab) -> None:
    folder = searched.make_results("small")
    (folder / "best.json").mkdir()
    seen = Seen(searched)
    with pytest.raises(ValueError, match="autonat report small writes them"):
        seen.publish()
    assert seen.shown == 1


def test_a_strategy_file_names_no_place_of_the_lab_and_no_images_say_nothing(
    searched: Lab,
) -> None:
    seen = Seen(searched)
    published = seen.publish()
    assert seen.notes == []
    assert published.report is not None
    page = published.report.read_text()
    assert "<h2>Samples" not in page
    assert "How an image forms" not in page
    assert str(searched.folder) not in published.best.read_text()
    mlflow = json.loads(published.best.read_text())["mlflow"]
    assert mlflow["tracking_uri"] == "sqlite:///mlflow.db"
    run = MlflowClient(searched.tracking_uri).get_run(mlflow["run_id"])
    assert run.info.status == "FINISHED"


def test_a_strategy_file_keeps_its_run_while_mlflow_is_away(
    searched: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = StrategyFile.read(Seen(searched).publish().best).mlflow
    assert told is not None
    assert told["run_id"] is not None

    def away(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(mirror, "connect", away)
    published = Seen(searched).publish()
    assert StrategyFile.read(published.best).mlflow == told
    assert StrategyFile.read(published.best.with_name("random.json")).mlflow == told


def test_a_search_says_in_mlflow_that_it_was_interrupted_and_that_it_runs_again(
    with_mlflow: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = GenerationSearch(**SEARCH | {"budget": 3000}, lab=with_mlflow.folder)
    measure, left = SimulatedObjective.evaluate, [5]

    def interrupted(self: SimulatedObjective, *given: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return measure(self, *given)

    def statuses() -> set[str]:
        client = MlflowClient(with_mlflow.tracking_uri)
        experiment = client.get_experiment_by_name("autonat")
        assert experiment is not None
        query = "tags.`autonat.probe` = 'parent'"
        runs = client.search_runs([experiment.experiment_id], query)
        return {run.info.status for run in runs}

    monkeypatch.setattr(SimulatedObjective, "evaluate", interrupted)
    with LiveProgress() as progress:
        with pytest.raises(KeyboardInterrupt):
            launch(settings, resume=False, progress=progress)
        assert statuses() <= {"KILLED"}
        left[0] = 0
        assert launch(settings, resume=True, progress=progress).run.finished
    Seen(with_mlflow).publish()
    assert statuses() == {"FINISHED"}
