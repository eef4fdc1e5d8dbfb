"""Measures training strategies on real digits, and the benefit of searching them.

    python -m benchmarks.training table           # the FID of training strategies
    python -m benchmarks.training fine-tuning     # the same, starting from weights of Beta(12, 3)
    python -m benchmarks.training alternation     # searching both, or only generation
    python -m benchmarks.training retrained       # the results with new training seeds
    python -m benchmarks.training side-by-side    # one training, and two at the same time

All but the last can be resumed by running them again. The common tests measure at n = 10,000 with
seed 1001, which no search uses; ± is the standard error over training seeds.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from benchmarks.common_tests import FINAL_SEED, LAB, WORKERS
from search.controls import CONTROLS
from search.measurement import Measurement
from search.optimiser import Probe, Training
from search.optimisers.replicates import Replicates
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from search.training_strategy import TrainingStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.digits import DigitsObjective
from trials.objectives.training import Trainer
from trials.progress import LiveProgress
from trials.publishing.publish import publish
from trials.record.record import Record
from trials.record.searches import search_records
from trials.record.studies import study_names
from trials.runners.ray_runner import RaySettings, ray_workers, run_ray
from trials.runners.study import Study
from trials.searches.alternation import alternate
from trials.searches.launch import launch
from trials.searches.reading import read_settings
from trials.searches.setting_groups import Rounds, Trained
from trials.searches.settings import AlternationSettings, SearchSettings

HERE = Path(__file__).parent
STRATEGIES = (
    TrainingStrategy("beta", {"alpha": 12, "beta": 3}),
    TrainingStrategy("beta", {"alpha": 4, "beta": 1}),
    TrainingStrategy("beta", {"alpha": 2, "beta": 2}),
    TrainingStrategy("beta", {"alpha": 2, "beta": 1}),
    TrainingStrategy("uniform"),  # Beta(1, 1)
    TrainingStrategy("cosine"),
)
GENERATION = ("rule of thumb", "more remask noise")
NEW_TRAINING_SEEDS = (100, 101, 102)
TRAINING_STEPS = 1000
PASSES_A_STEP = 3 * 64
"""Forward passes that a training step of 64 images costs: a backward pass counts as two."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def table(
    steps: int = 8, training_steps: int = 1000, training_seeds: int = 3, images: int = 10_000
) -> None:
    """Write and print benchmarks/training-T*.parquet: a row per model and generation strategy."""
    strategies: dict[str, GenerationStrategy] = {}
    trainings: dict[str, Training] = {}
    for control in GENERATION:
        for strategy in STRATEGIES:
            for seed in range(training_seeds):
                name = f"{control} / {strategy} / {seed}"
                strategies[name] = CONTROLS[control](steps)
                trainings[name] = Training(strategy, training_steps, seed)
    asked = Replicates(strategies, images, [FINAL_SEED], trainings)
    record = _measured(f"training-T{steps}-{training_steps}-n{images}", asked)
    frame = pd.DataFrame(_rows(record))
    frame.to_parquet(HERE / f"training-T{steps}-{training_steps}.parquet")
    summary = frame.groupby(["generation", "training"], sort=False)
    means = summary.agg(fid=("fid", "mean"), se=("fid", "sem"), loss=("validation_loss", "mean"))
    print(means.sort_values(["generation", "fid"]).round(3).to_string())


@app.command()
def fine_tuning(
    steps: int = 8,
    training_steps: int = 1000,
    tuning_steps: int = 250,
    training_seeds: int = 3,
    images: int = 5000,
) -> None:
    """Compare fine-tuning from weights of Beta(12, 3) with training from scratch.

    Both are measured with more remask noise. Run `table` first.
    """
    control = GENERATION[1]
    anew = pd.read_parquet(HERE / f"training-T{steps}-{training_steps}.parquet")
    anew = anew[anew["generation"] == control].drop(columns="generation")
    rows = []
    for seed in range(training_seeds):
        base = Training(STRATEGIES[0], training_steps, seed)
        asked = Replicates({"base": CONTROLS[control](steps)}, 500, [FINAL_SEED], {"base": base})
        start = _checkpoint(_measured(f"base-{training_steps}-s{seed}", asked))
        names = {f"{control} / {strategy} / {seed}": strategy for strategy in STRATEGIES}
        asked = Replicates(
            dict.fromkeys(names, CONTROLS[control](steps)),
            images,
            [FINAL_SEED],
            {name: Training(strategy, tuning_steps, seed) for name, strategy in names.items()},
        )
        rows += _rows(_measured(f"fine-tuning-{tuning_steps}-s{seed}", asked, start))
    tuned = pd.DataFrame(rows).drop(columns="generation")
    both = anew.merge(tuned, on=["training", "training seed"], suffixes=("", " tuned"))
    both.to_parquet(HERE / f"fine-tuning-T{steps}-{tuning_steps}.parquet")
    both["bias"] = both["fid tuned"] - both["fid"]
    means = both.groupby("training").agg(
        anew=("fid", "mean"), tuned=("fid tuned", "mean"), bias=("bias", "mean"), se=("bias", "sem")
    )
    print(means.sort_values("anew").round(2).to_string())
    ranks = both.groupby("training seed")[["fid", "fid tuned"]].corr("spearman")
    print("rank correlation by seed", ranks["fid"].xs("fid tuned", level=1).round(2).to_list())


@app.command()
def alternation(
    steps: int = 8,
    seeds: str = "0,1,2",
    rounds: int = 2,
    training_budget: int = 10_000,
    budget: int = 40_000,
    test_images: int = 4000,
) -> None:
    """Search both in turn, and only generation with Beta(12, 3), at equal forward passes."""
    for seed in map(int, seeds.split(",")):
        both = _both(steps, seed, rounds, training_budget, budget, test_images)
        found = alternate(both, resume=_exists(f"{both.name}-"), search=_search)
        if found is None:
            raise typer.Exit(130)
        spent = sum(_passes(r.training) + _passes(r.generation) for r in found)
        alone = _alone(both, spent)
        if not (Lab.open(LAB).results(alone.full_name()) / "best.json").exists():
            _search(alone, _exists(f"{alone.name}-"))
        print(f"seed {seed}: {spent:,} forward passes, alone {_passes(alone.full_name()):,}")
    print("final tests: autonat compare --lab benchmarks/lab with", ", ".join(_names(steps)))


@app.command()
def retrained(steps: int = 8, seeds: str = "0,1,2", images: int = 5000) -> None:
    """Train the results of both and of generation alone again, with three new seeds each.

    A training search picks the best of its models, which may be luck; new models show the value of
    the strategy.
    """
    strategies: dict[str, GenerationStrategy] = {}
    trainings: dict[str, Training] = {}
    for search in ("both", "alone"):
        for found in map(int, seeds.split(",")):
            path = Lab.open(LAB).results(f"{search}-T{steps}-s{found}") / "best.json"
            file = StrategyFile.read(path)
            for seed in NEW_TRAINING_SEEDS:
                name = f"{search} {found} / {file.training} / {seed}"
                strategies[name] = file.generation
                trainings[name] = Training(file.training, TRAINING_STEPS, seed)
    asked = Replicates(strategies, images, [FINAL_SEED], trainings)
    frame = pd.DataFrame(_rows(_measured(f"retrained-T{steps}-n{images}", asked)))
    frame = frame.rename(columns={"generation": "search"})
    frame.to_parquet(HERE / f"retrained-T{steps}.parquet")
    summary = frame.groupby(["search", "training"], sort=False)["fid"]
    print(summary.agg(["mean", "sem", "min", "max"]).round(2).to_string())


@app.command()
def side_by_side(steps: int = 8, training_steps: int = 1000, repeats: int = 3) -> None:
    """Print the seconds and the peak memory of a training, and of two at the same time."""
    ratios = []
    for repeat in range(repeats):
        seconds = {}
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                asked = {
                    str(seed): Training(STRATEGIES[0], training_steps, seed) for seed in (0, 1)
                }
                asked = dict(list(asked.items())[:workers])
                strategies = dict.fromkeys(asked, CONTROLS[GENERATION[1]](steps))
                lab = Lab.open(Path(folder))
                trainer = Watched(Trainer(DigitsObjective(), lab.folder), lab.folder)
                told = {**describe("digits", {}, DigitsObjective()), "kind": "training"}
                record = Record.create(lab.record_url, "trainings", {**told, "search_name": "t"})
                study = Study(
                    Replicates(strategies, 500, [FINAL_SEED], asked),
                    record,
                    None,
                    workers,
                    lambda study: None,
                )
                spread = RaySettings(workers, 0.0, None)
                with ray_workers(spread):
                    run_ray(study, trainer, spread)
                found = [d.measurement.seconds for d in record.evaluations if d.measurement]
                seconds[workers] = max(found)
                peaks = [int(file.read_text()) / 2**20 for file in lab.folder.glob("*.peak")]
                print(
                    f"repeat {repeat}, {workers} at once: {max(found):.1f} s, {max(peaks):.2f} GiB"
                )
        ratios.append(seconds[2] / seconds[1])
    median = statistics.median(ratios)
    print(f"ratio: median {median:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


@dataclass(frozen=True)
class Watched:
    """A trainer that records the peak memory of its worker in KiB."""

    trainer: Trainer
    folder: Path

    def measure(self, probe: Probe, rungs: tuple[int, ...]) -> Iterator[Measurement]:
        """See `Trainer.measure`."""
        for measurement in self.trainer.measure(probe, rungs):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            (self.folder / f"{probe.number}.peak").write_text(str(peak))
            yield measurement


def _both(
    steps: int, seed: int, rounds: int, training_budget: int, budget: int, test_images: int
) -> AlternationSettings:
    given: dict[str, Any] = {
        "name": f"both-T{steps}-s{seed}",
        "what": "both",
        "objective": "digits",
        "steps": steps,
        "seed": seed,
        "rounds": rounds,
        "training_budget": training_budget,
        "budget": budget,
        "test_images": test_images,
        "images_per_evaluation": 500,
        "lab": LAB,
        "workers": WORKERS,
    }
    return AlternationSettings(**given).completed()


def _alone(both: AlternationSettings, passes: int) -> SearchSettings:
    """Return a search of generation alone, on a model trained with Beta(12, 3)."""
    lab = Lab.open(LAB)
    training = Training(STRATEGIES[0], both.training_steps, both.seed)
    start = {"model": both.generation_space().start}
    name = f"alone-T{both.steps}-s{both.seed}"
    asked = Replicates(start, both.images_per_evaluation, [FINAL_SEED], {"model": training})
    others = {"what", "optimiser_settings", *Trained.model_fields, *Rounds.model_fields}
    given = both.model_dump(exclude=others) | {
        "name": name,
        "objective_settings": {"checkpoint": _checkpoint(_measured(f"{name}-model", asked))},
        "budget": passes // both.generation_space().start.forward_passes(),
        "lab": lab.folder,
    }
    return read_settings(given).completed()


def _passes(name: str) -> int:
    """Return the forward passes that a search cost, including its trainings."""
    total = 0
    for record in search_records(Lab.open(LAB).record_url, name):
        if record.settings["kind"] == "search":
            for done in record.evaluations:
                total += done.images * done.probe.strategy.forward_passes()
                total += done.training_steps * PASSES_A_STEP
    return total


def _search(settings: SearchSettings, resume: bool) -> Path | None:
    with LiveProgress() as progress:
        launched = launch(settings, resume=resume, progress=progress)
        if not launched.run.finished:
            return None
        name = settings.full_name()
        records = search_records(launched.lab.record_url, name)
        made, mirror = launched.objective, launched.mirror
        return publish(
            launched.lab, name, records, lambda: made, mirror, lambda _: None, print
        ).best


def _rows(record: Record) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for done in record.evaluations:
        if done.measurement is not None:
            control, strategy, seed = done.probe.role.split(" / ")
            row = {"generation": control, "training": strategy, "training seed": int(seed)}
            found = done.measurement
            rows.append(row | {"fid": found.value, "validation_loss": found.validation_loss})
    return rows


def _checkpoint(record: Record) -> str:
    """Return the checkpoint of the only model that was trained."""
    measured = record.evaluations[0].measurement
    if measured is None or measured.checkpoint is None:
        raise ValueError(f"{record.name}: the model was not trained")
    return measured.checkpoint


def _measured(name: str, asked: Replicates, start: str | None = None) -> Record:
    """Return the record of a list of trainings; run those that are missing."""
    total = len(asked)
    lab, objective = Lab.open(LAB), DigitsObjective()
    settings = {**describe("digits", {}, objective), "kind": "training", "search_name": name}
    if name in study_names(lab.record_url):
        record = Record.open(lab.record_url, name)
    else:
        record = Record.create(lab.record_url, name, settings)
    if len(record.evaluations) < total:
        with LiveProgress() as progress:
            study = Study(asked, record, None, total, lambda study: study.show(progress))
            spread = RaySettings(WORKERS, 0.0, None)
            with ray_workers(spread):
                run_ray(study, Trainer(objective, lab.folder, start), spread)
    return record


def _exists(prefix: str) -> bool:
    return any(name.startswith(prefix) for name in study_names(Lab.open(LAB).record_url))


def _names(steps: int) -> list[str]:
    """Return the names of the searches in the lab that can be compared."""
    url = Lab.open(LAB).record_url
    found = {
        Record.open(url, name).settings["search_name"]
        for name in study_names(url)
        if name.startswith((f"both-T{steps}-", f"alone-T{steps}-")) and name.endswith("-test")
    }
    return sorted(found)


if __name__ == "__main__":
    sys.exit(app())
