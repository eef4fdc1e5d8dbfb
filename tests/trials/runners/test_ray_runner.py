"""On a real Ray. Tests that need one of their own come first; the others share one."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from search.measurement import Failure, Measurement
from search.optimiser import DONE, WAIT, Budget, Probe, Signal
from search.optimisers.replicates import Replicates
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.objective import load_objective
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.travelling import user_modules
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.ray_runner import (
    JobSearcher,
    RaySettings,
    _scheduler,
    check_arrives,
    has_room,
    ray_workers,
    run_ray,
)
from trials.runners.study import Job, Study
from trials.searches.settings import GenerationSearch

SPACE = Space(GenerationStrategy.maskgit(3))
SIMULATED = SimulatedObjective()
TWO = RaySettings(workers=2, gpus_per_trial=0, address=None)

OWN = """
    import os, signal
    from pathlib import Path
    from search.measurement import Measurement
    from tinynet import limit

    class Generator:
        tokens = 16
        def __init__(self, *, marks):
            self.marks = marks
        def describe(self):
            return {}
        def evaluate(self, strategy, images, seed):
            import models, late.module
            ours = hasattr(models, "__file__") and "wrong" not in vars(models)
            mark = Path(self.marks) / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if strategy.guidance_scale[0] > limit:
                raise RuntimeError("too much guidance")
            fid = strategy.sampling_temperature[0] if ours else float("nan")
            return Measurement(fid, None, images, strategy.forward_passes(), 0.0)

    class NeverArrives(Generator):
        def __setstate__(self, state):
            raise OSError("no weights")
"""


def study(
    record: Record,
    optimiser: str,
    evaluations: int,
    listener: Callable[[Study], None] = lambda _: None,
) -> Study:
    budget = Budget(evaluations * 100, 100)
    made = make_optimiser(optimiser, SPACE, budget, 0)
    return Study(made, record, SPACE, evaluations, listener)


def fids(record: Record) -> dict[int, float | None]:
    return {e.probe.number: e.measurement and e.measurement.value for e in record.evaluations}


def test_own_objective_with_helpers_beside_our_names_and_a_worker_that_dies(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text("wrong = True\n")
    (folder / "search.py").write_text("wrong = True\n")
    (folder / "mine.py").write_text(textwrap.dedent(OWN))
    (folder / "tinynet.py").write_text("limit = 3.5\n")
    (folder / "late").mkdir()
    (folder / "late" / "module.py").write_text("import tinynet\n")
    monkeypatch.chdir(folder)
    objective = load_objective("mine:Generator", {"marks": str(tmp_path)})
    modules = user_modules("mine:Generator")
    record = Record.create(lab.record_url, "own", {})
    source = study(record, "random", 12)
    with ray_workers(TWO, modules, "mine"):
        check_arrives(objective)
        with pytest.raises(
            ValueError, match="cannot be unpickled in a worker: OSError: no weights"
        ):
            check_arrives(load_objective("mine:NeverArrives", {"marks": ""}))
        run_ray(source, objective, TWO)
    assert source.finished
    assert (tmp_path / "died").exists()
    assert len(record.evaluations) == 12
    reasons = [e.result.reason for e in record.evaluations if isinstance(e.result, Failure)]
    assert set(reasons) <= {"RuntimeError: too much guidance (mine.py, line 21)"}
    assert len(reasons) < 12


def test_a_module_that_no_worker_can_import_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bound.py").write_text("import importlib\nimportlib.import_module('un' + 'seen')\n")
    (tmp_path / "unseen.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no class"):  # it is imported here
        load_objective("bound:Generator", {})
    line = "^bound cannot be imported in a worker: ModuleNotFoundError: No module named 'unseen'"
    with (
        pytest.raises(ValueError, match=line),
        ray_workers(TWO, user_modules("bound:Generator"), "bound"),
    ):
        pass


def test_more_gpus_than_there_are_is_said_at_once() -> None:
    with (
        pytest.raises(ValueError, match="1 CPU and 99 GPUs, but no node of the cluster has both"),
        ray_workers(RaySettings(1, 99, None)),
    ):
        pass


def test_an_address_that_nobody_answers_is_one_line() -> None:
    with (
        pytest.raises(ValueError, match="^ray address 127.0.0.1:9: "),
        ray_workers(RaySettings(1, 0, "127.0.0.1:9")),
    ):
        pass


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    with ray_workers(TWO):
        yield


@pytest.mark.usefixtures("two_workers")
def test_ray_finds_what_one_process_finds(lab: Lab) -> None:
    parallel = Record.create(lab.record_url, "parallel", {})
    began = time.monotonic()
    times: list[float] = []
    job_source = study(parallel, "cmaes", 40, lambda _: times.append(time.monotonic()))
    run_ray(job_source, SimulatedObjective(), TWO)
    alone = Record.create(lab.record_url, "alone", {})
    run_local(study(alone, "cmaes", 40), SimulatedObjective())
    assert job_source.finished
    assert fids(parallel) == fids(alone)
    # At most 0.2 s an evaluation that costs nothing, once the workers are up.
    assert (times[-1] - times[0]) / (len(times) - 1) < 0.2, f"{times[-1] - began:.1f} s in all"


@pytest.mark.long
@pytest.mark.usefixtures("two_workers")
def test_short_evaluations_are_shared_by_all_workers(lab: Lab, tmp_path: Path) -> None:
    """Tune's own scheduler kills each worker that starts while another is free, so one does all."""

    class Marking(SimulatedObjective):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            (tmp_path / f"worker-{os.getpid()}").touch()
            return super().evaluate(strategy, images, seed)

    record = Record.create(lab.record_url, "study", {})
    strategies = {"start": SPACE.start}
    source = Study(Replicates(strategies, 100, range(150)), record, SPACE, 150, lambda _: None)
    run_ray(source, Marking(latency=0.05), TWO)
    assert len(record.evaluations) == 150
    assert len(list(tmp_path.glob("worker-*"))) == 2


@pytest.mark.long
@pytest.mark.usefixtures("two_workers")
def test_what_hangs_is_begun_again_and_fails_in_the_end(lab: Lab, tmp_path: Path) -> None:
    class Hanging(SimulatedObjective):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            tries = len(list(tmp_path.glob(f"{seed}-*")))
            (tmp_path / f"{seed}-{tries}").touch()
            if seed == 1 or (seed == 2 and tries == 0):
                time.sleep(600)
            return super().evaluate(strategy, images, seed)

    record = Record.create(lab.record_url, "study", {})
    asked = Replicates({"start": SPACE.start}, 100, [1, 2, 3, 4])
    source = Study(asked, record, SPACE, 4, lambda _: None)
    run_ray(source, Hanging(), RaySettings(2, 0, None, time_limit=1.0))
    assert source.finished
    results = {e.probe.seed: e.result for e in record.evaluations}
    reason = "its worker died 4 times, possibly killed by the time limit of 1 s"
    assert results.pop(1) == Failure(reason)
    assert all(isinstance(result, Measurement) for result in results.values())
    assert len(list(tmp_path.glob("1-*"))) == 4
    assert len(list(tmp_path.glob("2-*"))) == 2


@pytest.mark.usefixtures("two_workers")
@pytest.mark.long
def test_several_at_once_a_worker_and_the_one_that_kills_it_fails_alone(
    lab: Lab, tmp_path: Path
) -> None:
    class Deadly(SimulatedObjective):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            if seed == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().evaluate(strategy, images, seed)

        def evaluate_together(
            self, strategies: Sequence[GenerationStrategy], images: int, seeds: Sequence[int]
        ) -> list[Measurement]:
            (tmp_path / "-".join(map(str, seeds))).touch()
            pairs = zip(strategies, seeds, strict=True)
            return [self.evaluate(strategy, images, seed) for strategy, seed in pairs]

    record = Record.create(lab.record_url, "study", {})
    asked = Replicates({"start": SPACE.start}, 100, range(1, 9))
    source = Study(asked, record, SPACE, 8, lambda _: None)
    run_ray(source, Deadly(), RaySettings(2, 0, None, together=3))
    assert source.finished
    results = {e.probe.seed: e.result for e in record.evaluations}
    assert results.pop(3) == Failure("its worker died 4 times")
    for seed, result in results.items():
        assert isinstance(result, Measurement)
        assert result.value == SIMULATED.evaluate(SPACE.start, 100, seed).value
    assert {path.name for path in tmp_path.glob("*-*")} == {"1-2-3", "4-5-6", "7-8"}


@pytest.mark.parametrize("images", [500, 250, 125, 251, 3])
def test_every_rung_of_a_search_is_one_of_the_scheduler_s(images: int) -> None:
    """A trial that reports between two of them is never compared there."""
    search = GenerationSearch(
        steps=4,
        budget=20 * images,
        images_per_evaluation=images,
        optimisers=["tpe"],
        scheduler="asha",
    )
    rungs = search.rungs()
    assert rungs is not None
    [bracket] = _scheduler(rungs, None)._brackets  # type: ignore[arg-type, attr-defined]
    milestones = [milestone for milestone, _ in bracket._rungs]
    assert {*rungs[:-1]} <= {*milestones}
    assert rungs[-1] == images


@pytest.mark.usefixtures("two_workers")
def test_asha_stops_the_hopeless_and_spends_their_images_on_more(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    source = study(record, "random", 24)
    run_ray(source, SimulatedObjective(), RaySettings(2, 0, None, rungs=(25, 50, 100)))
    states = [e.state for e in record.evaluations]
    assert states.count("PRUNED") > 8
    assert states.count("COMPLETE") > 3
    assert {e.images for e in record.evaluations} == {25, 50, 100}
    assert len(states) > 30
    assert 2300 < sum(e.images for e in record.evaluations) <= 2400
    stopped = [e.measurement.value for e in record.evaluations if e.measurement and e.images == 25]
    kept = [
        SIMULATED.evaluate(e.probe.strategy, 25, e.probe.seed).value
        for e in record.evaluations
        if e.state == "COMPLETE"
    ]
    assert sum(kept) / len(kept) < sum(stopped) / len(stopped)
    # Resuming it is replay: nothing is left to do.
    again = study(Record.open(lab.record_url, "study"), "random", 24)
    assert again.next() is DONE


@pytest.mark.long
@pytest.mark.usefixtures("two_workers")
def test_a_worker_that_dies_between_two_evaluations_costs_none(lab: Lab) -> None:
    class Dying(SimulatedObjective):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            if seed == 1:
                time.sleep(4)
            if seed == 2:
                threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
            return super().evaluate(strategy, images, seed)

    class Waiting:
        """Gives two jobs, and the others when both are done."""

        def __init__(self, study: Study) -> None:
            self.study, self.given = study, 0

        def next(self) -> Job | Signal:
            if self.given == 2 and len(self.study.record.evaluations) < 2:
                return WAIT
            self.given += 1
            return self.study.next()

    record = Record.create(lab.record_url, "study", {})
    asked = Replicates({"start": SPACE.start}, 100, [1, 2, 3, 4, 5, 6])
    run_ray(Waiting(Study(asked, record, SPACE, 6, lambda _: None)), Dying(), TWO)
    assert [evaluation.state for evaluation in record.evaluations] == ["COMPLETE"] * 6


@pytest.mark.usefixtures("two_workers")
def test_a_record_that_refuses_ends_the_run_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(SimulatedObjective):
        def evaluate(self, strategy: GenerationStrategy, images: int, seed: int) -> Measurement:
            if seed == 1:
                time.sleep(600)
            return super().evaluate(strategy, images, seed)

    def refuse(*_: object) -> None:
        raise ValueError("record study: disk full")

    record = Record.create(lab.record_url, "study", {})
    monkeypatch.setattr(record, "add", refuse)
    asked = Replicates({"start": SPACE.start}, 100, [1, 2, 3])
    began = time.monotonic()
    with pytest.raises(ValueError, match="disk full"):
        run_ray(Study(asked, record, SPACE, 3, lambda _: None), Slow(), TWO)
    assert time.monotonic() - began < 60


def test_what_finishes_after_an_optimiser_failed_is_recorded(lab: Lab) -> None:
    class FailsAtLast(Replicates):
        def ask(self) -> Probe | Signal:
            probe = super().ask()
            if probe is DONE:
                raise RuntimeError("a slip in ask")
            return probe

    record = Record.create(lab.record_url, "study", {})
    asked = FailsAtLast({"start": SPACE.start}, 100, [1, 2])
    searcher = JobSearcher(Study(asked, record, SPACE, 2, lambda _: None), TWO)
    for trial in ("a", "b"):
        assert isinstance(searcher.suggest(trial), dict)
    measured = {"failed": False, "result": asdict(Measurement(3.0, None, 100, 6, 1.0))}
    searcher.on_trial_complete("a", {"outcomes": json.dumps([measured])})
    assert searcher.suggest("c") == Searcher.FINISHED
    searcher.on_trial_complete("b", {"outcomes": json.dumps([measured])})
    assert fids(record) == {0: 3.0, 1: 3.0}
    assert "a slip in ask" in str(searcher.error)


def test_room_is_on_one_node() -> None:
    cpu, gpu = {"CPU": 8.0}, {"GPU": 2.0}

    def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": has} for has in resources]

    assert has_room(nodes(cpu), 0)
    assert has_room(nodes(cpu, cpu | gpu), 2)
    assert has_room(nodes(cpu | gpu), 0.5)
    assert not has_room(nodes(cpu, gpu), 1)
    assert not has_room(nodes(cpu | gpu, cpu | gpu), 4)
    assert not has_room([{"Alive": False, "Resources": cpu}], 0)
