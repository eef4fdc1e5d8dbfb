"""Every optimiser at equal images on real digits, on Ray, then one final test of all winners.

    python -m benchmarks.search digits --steps 8       # hours; run it again and it goes on

A search is an ordinary autonat search of the lab `benchmarks/lab`, so the dashboards open it. Its
own final test repeats what it believed at equal n; the common final test measures all winners and
the controls at large n on one seed that nothing else uses.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer

from search.controls import CONTROLS
from search.measurement import Measurement
from search.replicates import Replicates
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.launch import launch, prepare
from trials.objective import describe, load_objective
from trials.progress import LiveProgress
from trials.ray_runner import RaySettings, run_ray
from trials.record import Record, study_names
from trials.results import spent
from trials.search_run import search_records
from trials.settings import SearchSettings
from trials.study import Study

HERE = Path(__file__).parent
LAB = HERE / "lab"
FINAL_SEED = 1001
EQUAL_SEEDS = list(range(1, 11))
WORKERS = 2

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True)
class Arm:
    """What is compared: optimisers under common settings.

    Attributes:
        label: what sets them apart from the plain ones, or nothing.
        optimisers: by name.
        images: n of an evaluation.
        budget: images a method.
        classes: how labels are drawn.
    """

    label: str
    optimisers: tuple[str, ...]
    images: int
    budget: int
    classes: str = "equal"

    def settings(self, steps: int, seed: int) -> SearchSettings:
        """The search of this arm with one seed."""
        label = f"-{self.label}" if self.label else ""
        return SearchSettings(
            name=f"digits-T{steps}-{self.budget // 1000}k-n{self.images}{label}-s{seed}",
            objective="digits",
            objective_settings={"classes": self.classes},
            steps=steps,
            optimisers=list(self.optimisers),
            budget=self.budget,
            images_per_evaluation=self.images,
            seed=seed,
            controls=[],
            test_images=self.images,
            test_seeds=EQUAL_SEEDS,
            lab=LAB,
            workers=WORKERS,
            gpus_per_trial=0.0,
        )


def digits_arms(budget: int) -> list[Arm]:
    """On real digits. The reference draws labels at random and all noise anew, as published."""
    ours = ("coarse-to-fine", "cmaes", "tpe")
    return [
        Arm("", ours, 250, budget),
        Arm("published", ("autonat-reference",), 500, budget, classes="random"),
        Arm("common", ("autonat-common-numbers",), 250, budget),
        Arm("", ("coarse-to-fine",), 250, budget // 10),
        Arm("published", ("autonat-reference",), 1000, budget, classes="random"),
        Arm("published", ("autonat-reference",), 2000, budget, classes="random"),
    ]


@app.callback()
def commands() -> None:
    """Every optimiser at equal images."""


@app.command()
def digits(
    steps: int = 8, budget: int = 80_000, seeds: str = "0,1,2", test_images: int = 10_000
) -> None:
    """Real digits."""
    numbers = [int(s) for s in seeds.split(",")]
    for arm in digits_arms(budget):
        for seed in numbers:
            search(arm.settings(steps, seed))
    final_test("digits", steps, test_images)
    results(steps)


@app.command()
def results(steps: int = 8) -> None:
    """Write benchmarks/digits-T*.parquet from the records, and print it."""
    found = table("digits", steps)
    found.to_parquet(HERE / f"digits-T{steps}.parquet")
    print(found.drop(columns="curve").round(3).to_string(index=False))


def table(objective: str, steps: int) -> pd.DataFrame:
    """One row a search or control: the common final test, what the search believed, and its test
    at equal n; `curve` lists (images, lowest FID so far)."""
    tests = final_tests(objective, steps)
    rule, best = tests["rule of thumb"][1].fid, min(m.fid for _, m in tests.values())
    equal = {r.name: r for found in searches(objective, steps) for r in found}
    rows = []
    for name, (_, measured) in tests.items():
        row: dict[str, Any] = {"method": name, "fid": measured.fid, "fid_se": measured.fid_se}
        row["gap_closed"] = (rule - measured.fid) / (rule - best)
        row["forward_passes"] = measured.forward_passes
        record, found = equal.get(name), None
        if record is None and name not in CONTROLS:
            continue
        if record is not None:
            found = record.best()
            search_ = record.settings["search"]
            row |= {"method": record.settings["optimiser"], "search": record.name}
            row |= {"seed": search_["seed"], "n": search_["images_per_evaluation"]}
            row["images"] = spent(record)["images"]
            test = equal[f"{record.settings['search_name']}-test"]
            fids = [
                e.measurement.fid
                for e in test.evaluations
                if e.measurement and e.probe.role == record.settings["optimiser"]
            ]
            row["equal_fid"] = float(np.mean(fids)) if fids else None
            frame = record.frame()
            row["curve"] = [
                [int(i), float(f)]
                for i, f in zip(frame["images"].cumsum(), frame["fid"].cummin(), strict=True)
            ]
        row["believed"] = None if found is None else found.fid
        rows.append(row)
    return pd.DataFrame(rows).sort_values("fid")


def search(settings: SearchSettings) -> None:
    """Run a search, or go on with it; nothing happens where it is done."""
    lab = Lab.open(LAB)
    name = settings.full_name()
    resume = any(study.startswith(f"{name}-") for study in study_names(lab.record_url))
    with LiveProgress() as progress:
        launch(settings, resume=resume, progress=progress)


def searches(objective: str, steps: int) -> list[list[Record]]:
    """The records of all finished searches of the lab on that objective and T."""
    lab = Lab.open(LAB)
    prefix = f"{objective}-T{steps}-"
    names = {
        Record.open(lab.record_url, study).settings["search_name"]
        for study in study_names(lab.record_url)
        if study.startswith(prefix)
    }
    found = [search_records(lab, name) for name in sorted(names)]
    return [records for records in found if records[-1].settings["kind"] == "test"]


def final_test(objective: str, steps: int, images: int) -> None:
    """Measure every winner and every control that was not measured yet at n = images, once."""
    made = load_objective(objective, {})
    lab = Lab.open(LAB)
    strategies = {name: control(steps) for name, control in CONTROLS.items()}
    for records in searches(objective, steps):
        for record in records:
            best = record.best()
            if record.settings["kind"] == "search" and best is not None:
                strategies[record.name] = best.strategy
    done = final_tests(objective, steps)
    missing = {name: s for name, s in strategies.items() if done.get(name, (None,))[0] != s}
    if not missing:
        return
    batches = [s for s in study_names(lab.record_url) if s.startswith("final-")]
    with LiveProgress() as progress:
        prepare(made, lab.folder, progress.report(f"preparing {objective}"))
        name = f"final-{objective}-T{steps}-{len(batches)}"
        told = {**describe(objective, {}, made), "kind": "final", "search_name": name}
        record = Record.create(lab.record_url, name, told)
        source = Study(
            Replicates(missing, images, [FINAL_SEED]), record, None, len(missing), progress.follow
        )
        run_ray(source, made, RaySettings(WORKERS, 0.0, None))


def final_tests(objective: str, steps: int) -> dict[str, tuple[GenerationStrategy, Measurement]]:
    """What was measured so far, by the study's or control's name."""
    lab = Lab.open(LAB)
    found = {}
    for study in study_names(lab.record_url):
        if study.startswith(f"final-{objective}-T{steps}-"):
            for evaluation in Record.open(lab.record_url, study).evaluations:
                if evaluation.measurement is not None:
                    probe = evaluation.probe
                    found[probe.role] = (probe.strategy, evaluation.measurement)
    return found


if __name__ == "__main__":
    sys.exit(app())
