"""Trainings as evaluations, on small networks and real digits."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.precision import StagePrecisions
from models.training.checkpoints import stored_folder
from search.bound import Bound
from search.measurement import Failure, Measurement
from search.optimiser import Probe, Training, TrainingBudget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from search.training_space import JointSpace, TrainingSpace
from search.training_strategy import TrainingStrategy
from tests.options import laid_over
from trials.lab import Lab
from trials.objectives.digits import DigitsObjective
from trials.objectives.measured import evaluate_probe, grow_probe
from trials.objectives.objective import load_objective
from trials.objectives.training import Trainer
from trials.objectives.travelling import user_modules
from trials.record.record import Record
from trials.record.studies import study_names
from trials.runners.local_runner import run_local
from trials.runners.ray_runner import RaySettings, ray_workers, run_ray
from trials.runners.study import Study

GENERATION = GenerationStrategy.maskgit(2)
BETA = TrainingStrategy("beta", {"alpha": 2, "beta": 1})
SPACE = TrainingSpace(BETA, GENERATION)
RUNGS = (20, 40, 80)
Autonat = Callable[..., tuple[int, str, str]]


def small(**settings: object) -> DigitsObjective:
    return DigitsObjective(**{"width": 8, "depth": 0, **settings})  # type: ignore[arg-type]


def probe(strategy: TrainingStrategy = BETA, images: int = 100, seed: int = 5) -> Probe:
    return Probe(0, GENERATION, images, seed, 0, "start", Training(strategy, RUNGS[-1], 7))


def results(trainer: Trainer, asked: Probe, rungs: tuple[int, ...] = RUNGS) -> list[Measurement]:
    found = list(grow_probe(trainer, asked, rungs))
    assert all(isinstance(result, Measurement) for result in found), found
    return [result for result in found if isinstance(result, Measurement)]


def alike(one: Measurement, other: Measurement) -> bool:
    return (one.value, one.validation_loss, one.checkpoint, one.training_steps) == (
        other.value,
        other.validation_loss,
        other.checkpoint,
        other.training_steps,
    )


class KilledError(Exception):
    """What ends a training from outside."""


class Killed(DigitsObjective):
    """Its training dies once it has reached the second rung."""

    def train(self, *words: object, **more: object) -> Iterator[object]:  # type: ignore[override]
        for i, trained in enumerate(super().train(*words, **more)):  # type: ignore[arg-type]
            if i == 1:
                raise KilledError
            yield trained


def test_rungs_report_and_the_last_one_keeps_the_weights(tmp_path: Path) -> None:
    found = results(Trainer(small(), tmp_path), probe())
    assert [m.training_steps for m in found] == list(RUNGS)
    assert [m.images for m in found] == [100] * 3
    losses = [m.validation_loss for m in found]
    assert losses == sorted(losses, reverse=True)  # type: ignore[type-var]
    assert [m.checkpoint is None for m in found] == [True, True, False]
    stored = str(found[-1].checkpoint)
    assert stored_folder(tmp_path, stored).is_dir()
    # What measures the stored weights finds the same FID, and knows what they were trained with.
    objective = small(checkpoint=stored)
    objective.prepare(tmp_path, lambda *_: None)
    assert objective.evaluate(GENERATION, 100, 5).value == found[-1].value
    assert objective.describe()["training"] == BETA.to_json()
    assert objective.describe()["checkpoint"] == stored


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole = results(Trainer(small(), tmp_path / "whole"), probe())
    killed = Trainer(Killed(width=8, depth=0), tmp_path / "killed")
    assert isinstance([*grow_probe(killed, probe(), RUNGS)][-1], Failure)
    state = next((tmp_path / "killed" / "training").glob("*/state/training.pt"))
    began = state.stat().st_mtime_ns
    resumed = results(Trainer(small(), tmp_path / "killed"), probe())
    assert all(map(alike, whole, resumed))
    assert not state.exists()  # it was gone on from, and is let go of at the end
    assert began > 0


def test_nothing_is_trained_or_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(small(), tmp_path)
    first = results(trainer, probe())

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(DigitsObjective, "train", never)
    assert all(map(alike, first, results(trainer, probe())))
    (other_seed,) = results(trainer, probe(seed=6), RUNGS[-1:])
    assert other_seed.value != first[-1].value
    assert other_seed.checkpoint == first[-1].checkpoint


def test_what_was_measured_before_protocols_had_a_precision_is_found(tmp_path: Path) -> None:
    now = small()
    told = dict(now.describe())
    earlier = small()
    protocol = {name: value for name, value in told["protocol"].items() if name != "precision"}
    earlier.describe = lambda: told | {"protocol": protocol}  # type: ignore[method-assign]
    keys = {Trainer(one, tmp_path)._measurement_key(probe()) for one in (now, earlier)}
    assert len(keys) == 1
    now._generating.precision = StagePrecisions(pixels="bfloat16")
    assert Trainer(now, tmp_path)._measurement_key(probe()) not in keys


def test_state_beyond_a_rung_is_not_taken_for_it(tmp_path: Path) -> None:
    """A training that was stopped at 40 steps is asked again, to be measured at 20."""
    stopped = Trainer(small(), tmp_path).measure(probe(), RUNGS)
    assert [next(stopped).training_steps for _ in range(2)] == [20, 40]
    stopped.close()
    again = results(Trainer(small(), tmp_path), probe(images=120))
    clean = results(Trainer(small(), tmp_path / "clean"), probe(images=120))
    assert all(map(alike, again, clean))


def test_another_protocol_is_measured_anew(tmp_path: Path) -> None:
    (equal,) = results(Trainer(small(), tmp_path), probe(), RUNGS[-1:])
    (random,) = results(Trainer(small(classes="random"), tmp_path), probe(), RUNGS[-1:])
    assert random.checkpoint == equal.checkpoint
    assert random.value != equal.value


def test_a_shorter_training_and_the_rung_of_a_longer_one_do_not_stand_for_each_other(
    tmp_path: Path,
) -> None:
    """Each gives the same in a lab of its own and after the other."""
    short = RUNGS[1:2]
    found: list[dict[tuple[int, ...], list[Measurement]]] = []
    for order in ([short, RUNGS], [RUNGS, short]):
        trainer = Trainer(small(), tmp_path / str(order[0]))
        found.append({rungs: results(trainer, probe(), rungs) for rungs in order})
    for rungs in (short, RUNGS):
        first, second = (of[rungs] for of in found)
        assert [m.training_steps for m in first] == list(rungs)
        assert first[-1].checkpoint == second[-1].checkpoint is not None
        assert [m.value for m in first] == [m.value for m in second]


def test_a_training_that_two_ask_for_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    train = DigitsObjective.train

    def counted(self: DigitsObjective, *words: object) -> Iterator[object]:
        begun.append(1)
        time.sleep(0.3)  # the other is there before this one ends
        yield from train(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(DigitsObjective, "train", counted)
    found: list[list[Measurement]] = []

    def measure() -> None:
        found.append(results(Trainer(small(), tmp_path), probe(), RUNGS[-1:]))

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert alike(found[0][0], found[1][0])


def test_an_evaluation_that_was_stopped_at_a_rung_holds_nobody_up(tmp_path: Path) -> None:
    """Its process may live on without ever asking for the next rung. If it does, it goes on."""
    stopped = Trainer(small(), tmp_path).measure(probe(), RUNGS)
    first = next(stopped)
    others: list[Measurement] = []

    def measure() -> None:
        others.extend(results(Trainer(small(), tmp_path), probe(seed=6), RUNGS))

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    thread.join(60)
    assert [m.training_steps for m in others] == list(RUNGS)
    clean = results(Trainer(small(), tmp_path / "clean"), probe())
    assert all(map(alike, [first, *stopped], clean))


def test_a_rung_does_not_take_the_place_of_a_whole_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another search, which trains no longer than to this rung, ends while the rung is measured."""
    evaluate = DigitsObjective.evaluate
    whole: list[Measurement] = []

    def meanwhile(self: DigitsObjective, *words: object) -> Measurement:
        monkeypatch.setattr(DigitsObjective, "evaluate", evaluate)
        whole.extend(results(Trainer(small(), tmp_path), probe(), RUNGS[:1]))
        return evaluate(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(DigitsObjective, "evaluate", meanwhile)
    rungs = results(Trainer(small(), tmp_path), probe(), RUNGS)
    assert [m.value for m in whole] == [rungs[0].value]
    assert whole[0].checkpoint is not None
    assert results(Trainer(small(), tmp_path), probe(), RUNGS[:1]) == whole
    assert rungs[-1].checkpoint not in (None, whole[0].checkpoint)


def test_a_finished_model_is_measured_by_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results(Trainer(small(), tmp_path), probe(), RUNGS[-1:])
    together = threading.Barrier(3, timeout=30)  # broken unless all three are there
    evaluate = DigitsObjective.evaluate

    def waiting(self: DigitsObjective, *words: object) -> Measurement:
        together.wait()
        return evaluate(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(DigitsObjective, "evaluate", waiting)
    found: list[Measurement] = []
    threads = [
        threading.Thread(
            target=lambda s=seed: found.extend(
                results(Trainer(small(), tmp_path), probe(seed=s), RUNGS[-1:])
            )
        )
        for seed in (6, 7, 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({m.value for m in found}) == 3


def test_fine_tuning_goes_on_from_weights(tmp_path: Path) -> None:
    *_, first = results(Trainer(small(), tmp_path), probe(), RUNGS[-1:])
    other = TrainingStrategy("uniform")
    (tuned,) = results(Trainer(small(), tmp_path, first.checkpoint), probe(other), RUNGS[-1:])
    (fresh,) = results(Trainer(small(), tmp_path), probe(other), RUNGS[-1:])
    assert tuned.validation_loss is not None
    assert fresh.validation_loss is not None
    assert tuned.validation_loss < fresh.validation_loss


def test_a_diverged_training_fails_with_its_reason_and_the_search_goes_on(lab: Lab) -> None:
    class Sharp(DigitsObjective):
        def train(self, strategy: TrainingStrategy, *words: object) -> Iterator[object]:  # type: ignore[override]
            if strategy.values["alpha"] > 3:
                raise ValueError("training diverged: loss = nan at step 20")
            yield from super().train(strategy, *words)  # type: ignore[arg-type]

    record = Record.create(lab.record_url, "study", {})
    made = make_optimiser("autonat-greedy", SPACE, TrainingBudget(20 * 5, 20, 100), 0)
    study = Study(made, record, SPACE, 5, lambda _: None)
    run_local(study, Trainer(Sharp(width=8, depth=0), lab.folder))
    reasons = [e.reason for e in record.evaluations if e.state == "FAIL"]
    (reason,) = reasons
    where = "(test_training.py, line "
    assert reason.startswith(f"ValueError: training diverged: loss = nan at step 20 {where}")
    assert len(record.evaluations) == 5
    best = Record.open(lab.record_url, "study").best()
    assert best is not None
    assert best.training is not None
    assert best.training.strategy.values["alpha"] <= 3


def test_the_record_keeps_what_was_trained(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    joint = JointSpace(SPACE, Space(GENERATION))
    made = make_optimiser("random", joint, TrainingBudget(20 * 3, 20, 100), 0)
    run_local(Study(made, record, joint, 3, lambda _: None), Trainer(small(), lab.folder))
    opened = Record.open(lab.record_url, "study")
    assert [(e.probe, e.result) for e in opened.evaluations] == [
        (e.probe, e.result) for e in record.evaluations
    ]
    frame = opened.frame()
    assert frame["training_steps"].tolist() == [20] * 3
    assert frame["alpha"].nunique() == 3
    assert len({e.probe.strategy for e in opened.evaluations}) == 3


DYING = """
    import os, signal
    from pathlib import Path
    import torch
    from models.training import training
    from trials.objectives.digits import DigitsObjective

    class Dying(DigitsObjective):
        '''Its first worker is killed as soon as 40 steps are safe.'''

        def __init__(self, *, marks, **settings):
            super().__init__(**settings)
            self.marks = Path(marks)

        def train(self, strategy, seed, rungs, folder, lab, start):
            state, died = folder / "training.pt", self.marks / "died"
            if state.exists():
                step = torch.load(state, weights_only=True)["step"]
                (self.marks / "resumed").write_text(str(step))
            training.CHECKPOINT_EVERY, training.CHECKPOINT_SECONDS = 20, 0.0
            save = training._save_checkpoint

            def save_and_die(path, step, *rest):
                save(path, step, *rest)
                if step == 40 and not died.exists():
                    died.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

            training._save_checkpoint = save_and_die
            yield from super().train(strategy, seed, rungs, folder, lab, start)
"""


def ranked(record: Record) -> list[tuple[float, str]]:
    return sorted(
        (e.measurement.value, str(e.probe.training.strategy))
        for e in record.evaluations
        if e.measurement and e.probe.training and not e.stopped
    )


@pytest.mark.long
def test_a_killed_worker_loses_no_rung_and_the_ranking_stays(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "dying.py").write_text(textwrap.dedent(DYING))
    monkeypatch.chdir(folder)
    objective = load_objective("dying:Dying", {"marks": str(folder), "width": 8, "depth": 0})
    budget = TrainingBudget(80 * 3, 80, 100)
    record = Record.create(lab.record_url, "ray", {})
    made = make_optimiser("autonat-greedy", SPACE, budget, 0)
    source = Study(made, record, SPACE, 3, lambda _: None)
    spread = RaySettings(2, 0, None)
    with ray_workers(spread, user_modules("dying:Dying"), "dying"):
        run_ray(source, Trainer(objective, lab.folder), spread)
    assert source.finished
    assert (folder / "resumed").read_text() == "40"

    alone = Record.create(lab.record_url, "alone", {})
    again = Study(
        make_optimiser("autonat-greedy", SPACE, budget, 0), alone, SPACE, 3, lambda _: None
    )
    run_local(again, Trainer(small(), lab.folder / "elsewhere"))
    assert ranked(record) == ranked(alone)


@pytest.mark.long
def test_asha_stops_trainings_and_none_that_stopped_is_ranked(lab: Lab) -> None:
    record = Record.create(lab.record_url, "study", {})
    budget = TrainingBudget(80 * 6, 80, 100)
    made = make_optimiser("random", SPACE, budget, 0)
    source = Study(made, record, SPACE, 6, lambda _: None)
    spread = RaySettings(2, 0, None, rungs=RUNGS)
    with ray_workers(spread):
        run_ray(source, Trainer(small(), lab.folder), spread)
    states = [e.state for e in record.evaluations]
    assert "PRUNED" in states
    assert sum(e.training_steps for e in record.evaluations) <= 80 * 6
    stopped = [e for e in record.evaluations if e.stopped]
    assert all(e.training_steps in RUNGS[:-1] for e in stopped)
    best = record.best()
    assert best is not None
    assert best.checkpoint is not None
    assert best.value == min(
        e.measurement.value for e in record.evaluations if e.measurement and not e.stopped
    )


SEARCH = (
    *("--what", "training", "--set", "width=8", "--set", "depth=0", "--steps", "2"),
    *("--images", "100", "--test-images", "100", "--runner", "local"),
)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--training-start", "alpha=0"), "alpha = 0.0 is not positive"),
        (
            ("--training-start", "alpha=.nan"),
            "training_start.alpha: expected a finite number, got nan",
        ),
        (("--training-start", "beta=-1"), "beta = -1"),
        (("--distribution", "normal"), "mask_ratio_distribution = 'normal' is unknown; known"),
        (("--distribution", "uniform"), "the uniform distribution has no parameters"),
        (("--training-bounds", "gamma=1:2"), "the beta distribution has no gamma"),
        (
            ("--training-steps", "2", "--runner", "ray", "--scheduler", "asha"),
            "too small for the three rungs",
        ),
        (("--set", "checkpoint=sha256:" + "0" * 64), "trains its own models"),
        (("--set", "training_steps=9"), "training_steps = 9: a search of training strategies"),
        (("--training-optimiser", "tpe"), "training_optimiser = 'tpe' does not apply"),
        (("--what", "generation", "--training-steps", "9"), "training_steps = 9 does not apply"),
        (("--training-budget", "500"), "training_budget = 500 steps is less than one training"),
        (("--fine-tune-from", "sha256:" + "0" * 64), "nat.safetensors: No such file or directory"),
        (("--fine-tune-from", "best"), "expected sha256: and 64 hexadecimal digits, got 'best'"),
        (
            ("--optimiser", "coarse-to-fine"),
            "coarse-to-fine searches generation strategies, not tr",
        ),
        (("--objective", "simulated"), "objective simulated lacks the method train"),
        (("--images", "50"), "50 images are too few"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_anything_trains(
    autonat: Autonat, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    given = laid_over(SEARCH, *words)
    if "simulated" in words:
        given = [w for w in given if w not in ("--set", "width=8", "depth=0")]
    code, out, err = autonat("search", *given, "--lab", tmp_path / "lab")
    assert code == 2
    assert out == ""
    assert line in err
    assert err.count("autonat: ") == 1
    assert not (tmp_path / "lab" / "training").exists()
    assert study_names(Lab.open(tmp_path / "lab").record_url) == []


def test_weights_of_another_network_are_refused(autonat: Autonat, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    *_, found = results(Trainer(small(), lab), probe(), RUNGS[:1])
    stored = Trainer(small(), lab)
    (last,) = results(stored, probe(), RUNGS[-1:])
    assert found.checkpoint is not None
    words = [w if w != "width=8" else "width=16" for w in SEARCH]
    code, _, err = autonat("search", *words, "--fine-tune-from", last.checkpoint, "--lab", lab)
    assert code == 2
    assert "is of another network: width = 8, not 16" in err


def test_a_training_search_by_the_command_line(autonat: Autonat, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    words = (*SEARCH, "--training-steps", 20, "--training-budget", 80, "--name", "t", "--lab", lab)
    code, out, _ = autonat("search", *words, "--optimiser", "autonat-greedy", "--json")
    assert code == 0
    found = {r["method"]: r for r in json.loads(out)["results"]}
    assert set(found) == {"autonat-greedy", "start"}
    assert found["start"]["training"] == BETA.to_json()
    assert all(math.isfinite(r["fid"]) for r in found.values())
    best = json.loads((lab / "results" / "t" / "best.json").read_text())
    assert best["training"] == found["autonat-greedy"]["training"]
    assert best["search"]["spent"]["training_steps"] == 80
    # The file brings its model along: measured again it gives the same numbers.
    code, out, _ = autonat("evaluate", lab / "results" / "t" / "best.json", "--lab", lab, "--json")
    assert code == 0
    assert json.loads(out)["fids"] == found["autonat-greedy"]["fids"]
    page = (lab / "results" / "t" / "report.html").read_text()
    assert "Training strategies" in page
    assert "trained with" in page
    shutil.rmtree(lab / "results")
    assert autonat("report", "t", "--lab", lab)[0] == 0


@pytest.mark.long
def test_a_start_that_diverges_does_not_stop_the_report(
    autonat: Autonat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = DigitsObjective.train

    def sharp(self: DigitsObjective, strategy: TrainingStrategy, *words: object) -> object:
        if strategy == BETA:
            raise ValueError("training diverged: loss = nan at step 20")
        return train(self, strategy, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(DigitsObjective, "train", sharp)
    words = (*SEARCH, "--training-steps", 20, "--training-budget", 60, "--lab", tmp_path / "lab")
    code, out, err = autonat("search", *words, "--json")
    assert code == 0, err
    found = {r["method"]: r for r in json.loads(out)["results"]}
    assert found["start"]["fid"] is None
    assert math.isfinite(found["autonat-greedy"]["fid"])


def test_bounds_of_parameters(tmp_path: Path) -> None:
    narrow = TrainingSpace(BETA, GENERATION, {"alpha": Bound(1.5, 2.5, log=True)})
    made = make_optimiser("random", narrow, TrainingBudget(20 * 4, 20, 100), 0)
    for _ in range(4):
        asked = made.ask()
        assert isinstance(asked, Probe)
        assert asked.training is not None
        assert 1.5 <= asked.training.strategy.values["alpha"] <= 2.5
        made.tell(asked, evaluate_probe(Trainer(small(), tmp_path), asked))
