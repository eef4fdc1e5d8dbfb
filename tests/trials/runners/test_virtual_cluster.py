from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from search.measurement import Failure, Measurement
from search.optimiser import WAIT, Budget, Optimiser, Probe, Signal
from search.optimisers.replicates import Replicates
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.objectives.simulated import SimulatedObjective
from trials.runners.ray_runner import WORKER_RETRIES
from trials.runners.virtual_cluster import Cluster, VirtualRun, run_virtual

SPACE = Space(GenerationStrategy.maskgit(2))
OBJECTIVE = SimulatedObjective()
STEADY = Cluster(workers=4, seconds=10.0, spread=0.0)
ROUGH = Cluster(
    workers=4, spread=0.3, stragglers=0.05, deaths=0.1, preemptions=2.0, overhead=0.5, seed=3
)
BATCH = 1 + len(SPACE.names)
"""Evaluations of a gradient step."""


class Listening:
    """An optimiser, and all that it was asked and told."""

    def __init__(self, optimiser: Optimiser) -> None:
        self._optimiser = optimiser
        self.asked: list[Probe] = []
        self.told: list[tuple[Probe, Measurement | Failure]] = []
        self.most_in_flight = 0

    def ask(self) -> Probe | Signal:
        probe = self._optimiser.ask()
        if isinstance(probe, Probe):
            self.asked.append(probe)
            self.most_in_flight = max(self.most_in_flight, len(self.asked) - len(self.told))
        return probe

    def tell(self, probe: Probe, result: Measurement | Failure) -> None:
        self.told.append((probe, result))
        self._optimiser.tell(probe, result)


def listening(name: str, evaluations: int, **own: Any) -> Listening:
    return Listening(make_optimiser(name, SPACE, Budget(evaluations * 100, 100), 0, own, 64))


def run(cluster: Cluster, name: str = "random", evaluations: int = 60, **own: Any) -> VirtualRun:
    return run_virtual(listening(name, evaluations, **own), OBJECTIVE, cluster)


def changed(cluster: Cluster, **fields: Any) -> Cluster:
    return dataclasses.replace(cluster, **fields)


@pytest.mark.parametrize("name", ["random", "cmaes", "autonat-reference"])
def test_equal_seeds_give_equal_runs(name: str) -> None:
    assert run(ROUGH, name) == run(ROUGH, name)
    assert run(ROUGH, name) != run(changed(ROUGH, seed=4), name)


def test_one_worker_measures_one_after_the_other() -> None:
    optimiser = listening("cmaes", 12)
    found = run_virtual(optimiser, OBJECTIVE, changed(STEADY, workers=1))
    assert [probe.number for probe, _ in optimiser.told] == list(range(12))
    assert optimiser.most_in_flight == 1
    assert found.wall == pytest.approx(120.0)
    assert found.busy == pytest.approx(1.0)
    assert {r.seconds for _, r in optimiser.told if isinstance(r, Measurement)} == {10.0}


def test_a_gradient_step_is_a_barrier() -> None:
    optimiser = listening("autonat-reference", 3 * BATCH)
    found = run_virtual(optimiser, OBJECTIVE, changed(STEADY, workers=100))
    assert optimiser.most_in_flight == BATCH
    assert found.wall == pytest.approx(
        3 * 10.0
    )  # the steps follow each other, however many workers
    assert found.busy == pytest.approx(BATCH / 100)
    steps = [probe.step for probe, _ in optimiser.told]
    assert steps == sorted(steps)


def test_a_straggler_holds_up_its_step_alone() -> None:
    cluster = changed(STEADY, workers=100, stragglers=1.0, slowdown=4.0)
    assert run(cluster, "autonat-reference", 2 * BATCH).wall == pytest.approx(2 * 40.0)


def test_never_more_in_flight_than_the_optimiser_or_the_cluster_allows() -> None:
    narrow = listening("random", 40, max_in_flight=2)
    run_virtual(narrow, OBJECTIVE, changed(STEADY, workers=8))
    assert narrow.most_in_flight == 2
    wide = listening("random", 40, max_in_flight=16)
    run_virtual(wide, OBJECTIVE, changed(STEADY, workers=8))
    assert wide.most_in_flight == 8


@pytest.mark.parametrize("name", ["random", "autonat-reference"])
def test_more_workers_are_faster_but_never_by_more_than_their_number(name: str) -> None:
    own = {"max_in_flight": 64} if name == "random" else {}
    runs = {n: run(changed(ROUGH, workers=n), name, **own) for n in (1, 2, 8, 32)}
    for workers, found in runs.items():
        assert runs[1].wall / found.wall <= workers * (1 + 1e-9)
        assert 0 < found.busy <= 1
        # What befalls a probe does not hang on who runs it.
        assert found.worked == pytest.approx(runs[1].worked)
        assert (found.retried, found.preempted) == (runs[1].retried, runs[1].preempted)
    walls = [found.wall for found in runs.values()]
    assert walls == sorted(walls, reverse=True)


def test_deaths_are_retried_then_told_as_failures() -> None:
    optimiser = listening("random", 200)
    found = run_virtual(optimiser, OBJECTIVE, changed(STEADY, deaths=0.5, seed=1))
    failed = [r.reason for _, r in optimiser.told if isinstance(r, Failure)]
    assert found.evaluations == 200
    assert found.failed == len(failed) == pytest.approx(200 * 0.5**4, abs=10)
    assert set(failed) == {f"its worker died {WORKER_RETRIES + 1} times"}
    assert sorted(p.number for p, _ in optimiser.told) == list(range(200))  # none lost, none twice
    assert found.retried == pytest.approx(200 * (0.5 + 0.25 + 0.125), abs=40)
    assert 0 < found.lost < found.worked


def test_retries_are_the_runners() -> None:
    assert Cluster(workers=1).retries == WORKER_RETRIES


def test_preemption_costs_time_but_no_retries() -> None:
    optimiser = listening("random", 100)
    cluster = changed(STEADY, preemptions=180.0, away=100.0, retries=0)
    found = run_virtual(optimiser, OBJECTIVE, cluster)
    assert found.preempted > 20
    assert found.failed == 0
    assert found.wall > run(STEADY, evaluations=100).wall + 100.0 * found.preempted / 8


def test_the_driver_hands_out_one_after_the_other() -> None:
    strategies = {"start": SPACE.start}
    cluster = changed(STEADY, workers=1000, overhead=0.5)
    found = run_virtual(Replicates(strategies, 100, range(100)), OBJECTIVE, cluster)
    assert found.wall == pytest.approx(100 * 0.5 + 10.0)


def test_failures_of_the_objective_are_told_at_once() -> None:
    class Broken:
        tokens = 64

        def describe(self) -> dict[str, object]:
            return {}

        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            raise RuntimeError("out of memory")

    optimiser = listening("random", 10)
    found = run_virtual(optimiser, Broken(), STEADY)
    assert (found.failed, found.retried, found.best) == (10, 0, ())


def test_the_best_only_falls_and_time_only_goes_on() -> None:
    found = run(ROUGH, evaluations=100)
    times, fids = zip(*found.best, strict=True)
    assert list(times) == sorted(times)
    assert list(fids) == sorted(set(fids), reverse=True)
    assert times[-1] <= found.wall


def test_an_optimiser_that_waits_for_nothing_is_found_out() -> None:
    class Stuck:
        def ask(self) -> Signal:
            return WAIT

        def tell(self, probe: Probe, result: Measurement | Failure) -> None:
            raise AssertionError

    with pytest.raises(RuntimeError, match="waits with nothing in flight"):
        run_virtual(Stuck(), OBJECTIVE, STEADY)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"workers": 0}, "workers = 0 is not a finite number >= 1"),
        ({"seconds": 0.0}, "seconds: expected a number above 0, got 0"),
        ({"spread": float("nan")}, "spread = nan is not"),
        ({"slowdown": 0.5}, "slowdown = 0.5 is not a finite number >= 1"),
        ({"deaths": 1.5}, "deaths = 1.5 is outside"),
        ({"preemptions": -1.0}, "preemptions = -1.0 is not"),
    ],
)
def test_clusters_that_cannot_be_are_refused(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        changed(STEADY, **fields)
