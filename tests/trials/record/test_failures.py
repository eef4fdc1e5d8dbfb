"""Evaluations that fail: when a search stops, and what trying again makes of its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from search.measurement import Failure, Measurement
from search.optimiser import Budget, Probe
from search.optimisers.replicates import Replicates
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.record.failures import FailureWatch, nothing_measured, reasons
from trials.record.record import Record
from trials.record.searches import is_finished, search_records
from trials.results.front import tested_already as known_from_the_test
from trials.results.results import method_results
from trials.runners.local_runner import run_local
from trials.runners.study import Study

Autonat = Callable[..., tuple[int, str, str]]
SPACE = Space(GenerationStrategy.maskgit(3))
EVALUATIONS = 30


def told(record: Record, *results: str | float) -> None:
    """Evaluations that measured a FID, or failed of a reason."""
    for result in results:
        number = len(record.evaluations)
        asked = Probe(number, SPACE.start, 100, 2**31 + number, number, "sample")
        passes = SPACE.start.forward_passes()
        fid = result if isinstance(result, float) else 0.0
        good = Measurement(fid, None, 100, passes, 0.0)
        record.add(asked, Failure(result) if isinstance(result, str) else good, SPACE)


def watched(record: Record, limit: int, *results: str | float) -> list[str]:
    said: list[str] = []
    watch = FailureWatch("x", limit, said.append)
    for result in results:
        told(record, result)
        watch.saw(record)
    return said


def test_each_reason_is_said_once_and_a_row_of_one_ends_the_search(lab: Lab) -> None:
    record = Record.create(lab.record_url, "x-tpe", {})
    said = watched(record, 3, "A 1", "A 2", 1.0, "A 3", "A 4", "B", "B", 2.0, "A 5")
    assert said == ["x-tpe: evaluation 0 failed: A 1", "x-tpe: evaluation 5 failed: B"]
    line = r"search x stopped after 3 failures in a row .* the last with: C at 3\.5 s; .*--resume x"
    with pytest.raises(ValueError, match=line):
        watched(record, 3, "C at 1.5 s", "C at 2.5 s", "C at 3.5 s")
    # Different reasons are no row.
    watched(record, 2, "A 6", "B", "A 7", "B")
    assert [(r.text, r.count) for r in reasons(record.evaluations)][:2] == [("A 1", 7), ("B", 4)]


def test_a_search_without_a_measurement_says_the_first_reason(lab: Lab) -> None:
    record = Record.create(lab.record_url, "x-tpe", {})
    told(record, "no weights", "other")
    line = "search x: none of its 2 evaluations has succeeded; the first failed with: no weights"
    assert str(nothing_measured("x", [record])) == line


class Flaky(SimulatedObjective):
    """Fails with some seeds, until it is mended."""

    def __init__(self, *, share: int) -> None:
        super().__init__()
        self.share = share

    def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
        if self.share and seed % self.share == 0:
            raise RuntimeError("flaky")
        return super().evaluate(strategy, images, seed)


def study(record: Record, optimiser: str) -> Study:
    budget = Budget(EVALUATIONS * 100, 100)
    made = make_optimiser(optimiser, SPACE, budget, 0)
    return Study(made, record, SPACE, EVALUATIONS, lambda _: None)


def measured(record: Record) -> dict[int, tuple[Probe, float | None]]:
    found = {
        e.probe.number: (e.probe, e.measurement and e.measurement.value) for e in record.evaluations
    }
    assert len(found) == len(record.evaluations)  # no probe twice
    return found


@pytest.mark.parametrize(
    "optimiser",
    [
        "random",
        pytest.param("tpe", marks=pytest.mark.long),
        pytest.param("cmaes", marks=pytest.mark.long),
        "autonat-reference",
        "coarse-to-fine",
    ],
)
def test_what_is_tried_again_leaves_the_record_of_a_search_that_never_failed(
    lab: Lab, optimiser: str
) -> None:
    whole = Record.create(lab.record_url, "whole", {})
    run_local(study(whole, optimiser), SimulatedObjective())
    record = Record.create(lab.record_url, "flaky", {})
    run_local(study(record, optimiser), Flaky(share=3))
    failed = [e for e in record.evaluations if isinstance(e.result, Failure)]
    assert len(failed) >= 2

    # Begun to be tried again, killed, and resumed as usual.
    record = Record.open(lab.record_url, "flaky")
    record.retry_failed()
    assert not any(isinstance(e.result, Failure) for e in record.evaluations)
    before = len(record.evaluations)
    begun = study(record, optimiser)
    for _ in range(2):
        job = begun.next()
        job.finish(SimulatedObjective().evaluate(job.probe.strategy, 100, job.probe.seed))  # type: ignore[union-attr]
    record = Record.open(lab.record_url, "flaky")
    assert len(record.evaluations) <= before + 2
    run_local(study(record, optimiser), SimulatedObjective())

    for found in (record, Record.open(lab.record_url, "flaky")):
        assert measured(found) == measured(whole)
        assert found.best() == whole.best()
        assert {e.number for e in failed} <= {e.number for e in found.superseded}
        assert not found.retried_at(EVALUATIONS)  # other versions are refused again
    # Numbers are those of the storage's trials.
    numbers = {e.number for e in (*record.evaluations, *record.superseded)}
    assert numbers == set(range(len(numbers)))


def test_what_did_not_depend_on_a_failure_is_not_measured_again(lab: Lab) -> None:
    record = Record.create(lab.record_url, "flaky", {})
    run_local(study(record, "random"), Flaky(share=3))
    failed = sum(isinstance(e.result, Failure) for e in record.evaluations)
    record.retry_failed()
    run_local(study(record, "random"), SimulatedObjective())
    assert len(record.superseded) == failed


def test_where_a_search_converged_is_open_when_it_is_tried_again(lab: Lab) -> None:
    record = Record.create(lab.record_url, "x-tpe", {})
    told(record, 1.0, 2.0)
    record.note_converged(2)
    record.retry_failed()
    assert record.converged == 2
    told(record, "no")
    record.retry_failed()
    assert (record.converged, Record.open(lab.record_url, "x-tpe").converged) == (None, None)
    record.note_converged(3)
    assert Record.open(lab.record_url, "x-tpe").converged == 3


def test_a_record_of_other_versions_is_still_refused_before_what_was_tried_again(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    seeds = range(6)
    run_local(Study(Replicates({"a": SPACE.start}, 100, seeds), record, SPACE, 6, lambda _: None),
              Flaky(share=5))  # fmt: skip
    record.retry_failed()  # seeds 0 and 5
    assert record.retried_at(0)
    record = Record.create(lab.record_url, "later", {})
    told(record, 1.0, 2.0, "no")
    record.retry_failed()
    other = Replicates({"a": GenerationStrategy.maskgit(4)}, 100, seeds)
    with pytest.raises(ValueError, match="the recorded probe 0 is not the one"):
        Study(other, record, SPACE, 6, lambda _: None).next()


MINE = """
from pathlib import Path
from search.measurement import Measurement
from trials.objectives.simulated import SimulatedObjective

class Mine:
    tokens = 64
    def __init__(self, *, divisor=1):
        self.divisor = divisor
    def describe(self):
        return {}
    def evaluate(self, strategy, images, seed):
        if Path("interrupted").exists() and Path("interrupted").read_text() in ("", str(seed)):
            raise KeyboardInterrupt
        drawn = int(1e6 * strategy.sampling_temperature[0])
        if Path("broken").exists() and drawn % self.divisor == 0:
            raise RuntimeError("no weights")
        return SimulatedObjective().evaluate(strategy, images, seed)
"""
WORDS = [
    *("search", "--objective", "failing:Mine", "--steps", "2", "--optimiser", "tpe"),
    *("--budget", "1600", "--images", "100", "--test-images", "100", "--test-seeds", "1,2"),
    *("--runner", "local", "--name", "x"),
]


def test_a_search_whose_objective_always_fails_stops_is_shown_and_tried_again(
    autonat: Autonat,
) -> None:
    Path("failing.py").write_text(MINE)
    Path("broken").touch()
    code, out, err = autonat(*WORDS)
    assert (code, out) == (2, "")
    lines = err.strip().splitlines()
    reason = "RuntimeError: no weights (failing.py, line 17)"
    assert lines.count(f"x-tpe: evaluation 0 failed: {reason}") == 1
    assert lines[-1].startswith(
        "autonat: search x stopped after 5 failures in a row (max_failures_in_"
    )
    code, out, _ = autonat("show", "x", "--json")
    assert json.loads(out)["studies"] == [
        {
            "study": "x-tpe",
            "evaluations": 5,
            "failed": 5,
            "superseded": 0,
            "metric": "fid",
            "best_fid": None,
            "reasons": [{"reason": reason, "count": 5}],
        }
    ]
    assert f"x-tpe: 5 failed with: {reason}" in autonat("show", "x")[1]
    # More of them, if one insists.
    words = ("--runner", "local", "--max-failures-in-a-row", "7")
    assert autonat("search", "--resume", "x", *words)[0] == 2
    assert json.loads(autonat("show", "x", "--json")[1])["studies"][0]["failed"] == 12
    assert "--retry-failed: expected --resume NAME" in autonat("search", "--retry-failed")[2]

    Path("broken").unlink()
    code, _, err = autonat("search", "--resume", "x", "--retry-failed", "--runner", "local")
    assert code == 0, err
    search, test = json.loads(autonat("show", "x", "--json")[1])["studies"]
    assert (search["evaluations"], search["failed"], search["superseded"]) == (16, 0, 12)
    assert (test["evaluations"], test["failed"]) == (6, 0)
    assert autonat(*WORDS[:-1], "y")[0] == 0
    lab = Lab.open(Path("autonat-lab"))
    for suffix in ("tpe", "test"):
        records = [Record.open(lab.record_url, f"{name}-{suffix}") for name in "xy"]
        assert measured(records[0]) == measured(records[1])
    # MLflow has what the record has.
    client = MlflowClient(lab.tracking_uri)
    experiment = client.get_experiment_by_name("autonat evaluations")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`autonat.probe` != 'parent'")
    states = [run.info.status for run in runs]
    assert states == ["FINISHED"] * 44


@pytest.mark.long
def test_other_winners_after_trying_again_are_tested(autonat: Autonat) -> None:
    Path("failing.py").write_text(MINE)
    Path("broken").touch()
    code, _, err = autonat(*WORDS, "--set", "divisor=3")
    assert code == 0, err
    Path("broken").unlink()
    lab = Lab.open(Path("autonat-lab"))
    published = lab.results("x") / "best.json"
    before = method_results(search_records(lab.record_url, "x"))[0]
    assert before.test is not None

    # What is refused leaves no trace.
    record = Record.open(lab.record_url, "x-tpe")
    settings = record.settings
    record.change_settings(settings | {"optimiser_settings": {"other": 1}})
    words = ("search", "--resume", "x", "--runner", "local")
    code, _, err = autonat(*words, "--retry-failed")
    assert code == 2
    assert "study x-tpe was made with optimiser_settings" in err
    assert is_finished(search_records(lab.record_url, "x"))
    assert published.exists()
    record.change_settings(settings)

    # Interrupted in the search, then in the test of its new winner.
    for seed, *more in (("", "--retry-failed"), ("1",)):
        Path("interrupted").write_text(seed)
        assert autonat(*words, *more)[0] == 130
        assert not published.exists()
        assert not is_finished(search_records(lab.record_url, "x"))
        [listed] = json.loads(autonat("list", "--json")[1])
        assert (listed["state"], listed["fid"]) == ("interrupted", None)
    now = method_results(search_records(lab.record_url, "x"))[0]
    assert now.strategy != before.strategy
    assert (now.values, now.test, now.test_images) == ((), None, 100)
    assert now.strategy not in known_from_the_test(search_records(lab.record_url, "x"), 100, (1, 2))
    Path("interrupted").unlink()
    code, _, err = autonat("search", "--resume", "x", "--runner", "local")
    assert code == 0, err
    assert "nothing is left to do" not in err
    assert autonat(*WORDS[:-1], "y", "--set", "divisor=3")[0] == 0
    tests = [Record.open(lab.record_url, f"{name}-test") for name in "xy"]
    assert measured(tests[0]) == measured(tests[1])
    assert tests[0].settings["strategies"] == tests[1].settings["strategies"]
    assert not tests[0].retried_at(10)
    code, _, err = autonat("search", "--resume", "x", "--runner", "local")
    assert code == 0
    assert "nothing is left to do" in err
