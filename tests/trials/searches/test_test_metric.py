"""Searches in one metric whose final test is in another."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from models.metrics.metric import RealImages
from search.measurement import Measurement
from search.optimiser import Probe, Training
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.training_strategy import TrainingStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.digits import DigitsObjective
from trials.objectives.letters.objective import LettersObjective
from trials.objectives.measured import evaluate_probe, evaluate_probes
from trials.objectives.other_metric import differs_in_test, measuring_in
from trials.objectives.training import Trainer
from trials.objectives.yardstick import Yardstick
from trials.record.searches import search_records
from trials.results.anchors import recorded_anchors
from trials.results.listing import searches
from trials.results.results import as_json, method_results
from trials.searches.reading import read_settings
from trials.searches.settings import GenerationSearch

Autonat = Callable[..., tuple[int, str, str]]

WORDS = shlex.split(
    "search --objective letters --set metric=fid-leading --test-metric fid --steps 2 --optimisers "
    "random --budget 300 --images-per-evaluation 150 --test-images 300 --test-seeds 4 --runner "
    "local --controls 'rule of thumb' --name few"
)
TWO = GenerationStrategy.maskgit(2)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> LettersObjective:
    objective = LettersObjective(metric="fid-leading")
    objective.prepare(tmp_path_factory.mktemp("letters"), lambda *_: None)
    return objective


def test_what_is_found_with_few_images_is_reported_in_fid(
    with_mlflow: Lab, autonat: Autonat, letters: LettersObjective
) -> None:
    lab = with_mlflow
    code, out, err = autonat(*WORDS, "--lab", lab.folder, "--json")
    assert code == 0, err
    assert "300 images with each of 1 seed, in FID" in err
    *_, test = records = search_records(lab.record_url, "few")
    assert [record.metric for record in records] == ["fid-leading", "fid"]
    [found, rule] = results = method_results(records)
    assert [(r.metric, r.search_metric) for r in results] == [("fid", "fid-leading")] * 2
    again = letters.in_metric("fid").evaluate(found.strategy, 300, 4)
    assert found.value == pytest.approx(again.value, rel=1e-9)
    assert found.search_value != pytest.approx(found.value, rel=0.05)
    assert {told["search_metric"] for told in as_json(results)} == {"fid-leading"}
    assert json.loads(out)["results"][0]["metric"] == "fid"
    # Real images and a constant one are of the final test, too.
    anchors = {anchor.name: anchor.value for anchor in recorded_anchors(records)}
    assert anchors == pytest.approx(letters.in_metric("fid").anchors(300), rel=1e-9)
    _, tested = test.evaluations
    assert tested.probe.role == "rule of thumb"
    assert tested.measurement is not None
    assert tested.measurement.value == rule.value

    [listed] = searches(lab)
    assert (listed.metric, listed.test_metric) == ("fid-leading", "fid")
    [row] = [line for line in autonat("list", "--lab", lab.folder)[1].splitlines() if "few" in line]
    assert f"{found.value:.4g} FID" in row
    assert "leading FID" in row
    _check_strategy_file(lab, found.search_value, found.value)
    _check_mlflow(lab, found.search_value, found.value)
    page = (lab.results("few") / "report.html").read_text(encoding="utf-8")
    assert "Best leading FID against images generated" in page
    assert "FID of the final test" in page
    assert "The final test is in FID, so its numbers do not belong beside these." in page


def _check_strategy_file(lab: Lab, seen: float | None, tested: float) -> None:
    file = StrategyFile.read(lab.results("few") / "best.json")
    assert file.test is not None
    assert file.search is not None
    assert file.objective is not None
    assert file.protocol is not None
    assert (file.test.metric, file.test.value) == ("fid", tested)
    assert (file.search["metric"], file.search["value"]) == ("fid-leading", seen)
    # So that `autonat evaluate best.json` measures what the file states.
    assert file.objective["settings"] == {"metric": "fid"}
    assert file.protocol["metric"] == "fid"
    written = json.loads((lab.results("few") / "best.json").read_text(encoding="utf-8"))
    assert "measured as leading FID with 150 images" in written["search"]["value_means"]


def _check_mlflow(lab: Lab, seen: float | None, tested: float) -> None:
    client = MlflowClient(lab.tracking_uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    [run] = [run for run in client.search_runs(ids) if "test_fid" in run.data.metrics]
    assert run.data.metrics["test_fid"] == pytest.approx(tested)
    assert run.data.metrics["search_fid-leading"] == pytest.approx(seen)


@pytest.mark.long
def test_a_resumed_search_tests_in_the_same_metric(
    with_mlflow: Lab, autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object, *_: object) -> Measurement:
        raise ValueError("the card is gone")

    lab = with_mlflow
    with monkeypatch.context() as broken:
        broken.setattr(LettersObjective, "in_metric", _failing_tests(fails))
        autonat(*WORDS, "--lab", lab.folder)
    assert [len(r.failed) for r in search_records(lab.record_url, "few")] == [0, 2]
    words = ("--resume", "few", "--retry-failed", "--runner", "local", "--lab", lab.folder)
    code, _, err = autonat("search", *words)
    assert code == 0, err
    values = [result.value for result in method_results(search_records(lab.record_url, "few"))]
    assert all(value > 40 for value in values)


def _failing_tests(fails: Callable[..., Measurement]) -> Callable[..., Any]:
    """A method `in_metric` of objectives that describe themselves, but measure nothing."""
    whole = LettersObjective.in_metric

    def in_metric(self: LettersObjective, metric: str) -> LettersObjective:
        made = whole(self, metric)
        made.evaluate = fails.__get__(made)  # type: ignore[method-assign]
        return made

    return in_metric


def test_another_metric_shares_the_generator_and_the_features(letters: LettersObjective) -> None:
    tests = letters.in_metric("fid")
    assert tests._generating is letters._generating
    assert tests._yardstick.evaluator.features is letters._yardstick.evaluator.features
    fresh = LettersObjective()
    fresh.prepare(Path(), lambda *_: None)
    assert tests.evaluate(TWO, 300, 4).value == fresh.evaluate(TWO, 300, 4).value
    assert letters.evaluate(TWO, 150, 4).metric == "fid-leading"


def test_nothing_is_moved_or_loaded_again_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    objective = LettersObjective(metric="fid-leading")
    monkeypatch.setattr(LettersObjective, "_move", lambda self, where: moved.append(where))
    tests = objective.in_metric("fid")
    assert not moved
    assert objective.in_metric("fid-leading")._yardstick is objective._yardstick
    ours, theirs = objective._yardstick.evaluator, tests._yardstick.evaluator
    assert ours.features is theirs.features
    assert ours.real is theirs.real


def test_a_metric_that_lacks_features_of_real_images_is_refused_early() -> None:
    known = DigitsObjective()._yardstick.evaluator
    yardstick = Yardstick(known.features, RealImages(known.real.statistics))
    line = "the metric kid needs the features of the real images, of which only the statistics"
    with pytest.raises(ValueError, match=line):
        yardstick.in_metric("kid").evaluator.check(100)


class Unheeding(DigitsObjective):
    """It takes settings by any name, and one of its methods is wrong."""

    def __init__(self, *, answers: str = "itself", **settings: Any) -> None:
        super().__init__(**settings)
        self.answers = answers

    def in_metric(self, metric: str) -> Any:
        return {"itself": self, "none": None, "right": super().in_metric(metric)}[self.answers]


def test_a_wrong_in_metric_is_refused_and_a_setting_by_any_name_is_stated() -> None:
    with pytest.raises(ValueError, match="test_metric = kid: .* lacks the method evaluate"):
        measuring_in(Unheeding(answers="none"), "kid", "mine")
    same = Unheeding()
    described = describe("mine", {}, same)
    with pytest.raises(ValueError, match="mine describes the metric 'fid' in the final test, too"):
        differs_in_test(same, described, "kid")
    assert differs_in_test(same, described, "fid") == {}
    told = differs_in_test(Unheeding(answers="right"), described, "kid")
    assert told["objective"]["settings"] == {"metric": "kid"}
    assert told["protocol"]["metric"] == "kid"


def test_a_finished_search_is_not_tested_again_in_another_metric(
    with_mlflow: Lab, autonat: Autonat
) -> None:
    lab = with_mlflow.folder
    words = shlex.split(
        "search --objective simulated --steps 2 --optimisers random --budget 200 --images 100 "
        "--test-images 100 --test-seeds 1 --runner local --name old"
    )
    assert autonat(*words, "--lab", lab)[0] == 0
    resume = ("search", "--resume", "old", "--runner", "local", "--lab", lab)
    code, _, err = autonat(*resume, "--test-metric", "kid")
    assert code == 2
    assert "test_metric = None, not 'kid': leave that out, or start a new search" in err
    assert autonat(*resume)[0] == 0


def test_probes_say_their_metric_alone_and_together(letters: LettersObjective) -> None:
    probes = [
        Probe(number, TWO, 300, 4, 0, "test", metric=metric)
        for number, metric in enumerate(["fid", None, "fid"])
    ]
    alone = [evaluate_probe(letters, probe) for probe in probes]
    together = evaluate_probes(letters, probes)
    for found in (alone, together):
        assert all(isinstance(one, Measurement) for one in found), found
        named = [one.metric for one in found if isinstance(one, Measurement)]
        assert named == ["fid", "fid-leading", "fid"]


def test_a_trained_model_is_tested_in_it_without_another_training(tmp_path: Path) -> None:
    objective = DigitsObjective(width=8, depth=0)
    trainer = Trainer(objective, tmp_path)
    training = Training(TrainingStrategy("uniform"), 20, 7)
    searched = Probe(0, TWO, 100, 5, 0, "start", training)
    tested = Probe(0, TWO, 100, 5, 0, "start", training, metric="kid")
    first, second = (evaluate_probe(trainer, probe) for probe in (searched, tested))
    assert isinstance(first, Measurement)
    assert isinstance(second, Measurement)
    assert (first.metric, second.metric) == ("fid", "kid")
    assert first.checkpoint == second.checkpoint
    assert first.value != second.value


def metrics_of(autonat: Autonat, lab: Lab, search: str, words: str) -> list[str]:
    """The metrics of the studies of a search, that of the final test last."""
    usual = "--set width=8 --set depth=0 --steps 2 --optimisers random --budget 200"
    usual += " --images-per-evaluation 100 --test-images 100 --test-seeds 1"
    code, _, err = autonat("search", *words.split(), *usual.split(), "--lab", lab.folder)
    assert code == 0, err
    return [record.metric for record in search_records(lab.record_url, search)]


@pytest.mark.long
def test_workers_of_ray_test_in_a_metric_of_ones_own(
    with_mlflow: Lab, autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(__file__).parents[3] / "docs" / "extending"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    words = "--set training_steps=5 --test-metric missed:Missed --workers 1 --name own"
    assert metrics_of(autonat, with_mlflow, "own", words) == ["fid", "missed"]


@pytest.mark.long
def test_both_halves_of_a_round_search_in_the_metric_of_the_search(
    with_mlflow: Lab, autonat: Autonat
) -> None:
    words = "--what both --rounds 1 --name turn --runner local --test-metric kid"
    words += " --training-steps 20 --training-budget 20"
    assert metrics_of(autonat, with_mlflow, "turn-r1-generation", words) == ["fid", "kid"]
    halves = search_records(with_mlflow.record_url, "turn-r1-training")
    assert [record.metric for record in halves] == ["fid", "kid"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--objective letters --set metric=fid-leading --test-metric fid --test-images 200",
            "200 images are too few for the metric fid: with 292 features an image it needs at "
            "least 293",
        ),
        (
            "--objective simulated --test-metric fid",
            "objective simulated lacks the method in_metric, which test_metric = fid needs",
        ),
        ("--test-metric fod", "metric = 'fod' is unknown"),
        (
            "--objective letters --test-metric kid",
            "the metric needs features of the real images",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused_first(
    lab: Lab, autonat: Autonat, words: str, line: str
) -> None:
    code, _, err = autonat("search", *words.split(), "--runner", "local", "--lab", lab.folder)
    assert code == 2
    assert line in err
    assert not searches(lab)


def test_searches_made_before_there_was_the_setting_are_the_same_problem() -> None:
    assert "test_metric" not in GenerationSearch().problem()
    told = read_settings({"test_metric": "fid"}).problem()
    assert told["test_metric"] == "fid"
